"""Videos and images as a stream of frames with exact times."""

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import av

from cals.errors import MediaError
from cals.media.background import prefetch
from cals.media.clock import DEFAULT_RATE
from cals.media.decoding import DecodedPicture, Decoder
from cals.media.frame import Frame
from cals.media.opening import check_file, is_huge
from cals.media.photos import is_image, read_photo
from cals.media.pictures import from_rgb

log = logging.getLogger(__name__)

# Two frames of prefetch keep the decoder busy while the caller works; more only costs memory.
_PREFETCH_FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """The format of a video, for a writer to make one like it."""

    width: int
    """Pixels, upright."""
    height: int
    pix_fmt: str
    """FFmpeg name of the pixel format of the frames."""
    time_base: Fraction
    """Seconds of one tick; every frame time is a whole number of ticks."""
    rate: Fraction
    """Average frames per second."""
    sar: Fraction = Fraction(1)
    """Width over height of one pixel, upright."""
    colorspace: int = 2
    """Matrix coefficients; this and the next three are ITU-T H.273 codes, 2 (range: 0) for unspecified."""
    color_range: int = 0
    color_primaries: int = 2
    color_trc: int = 2
    is_image: bool = False
    field_order: Literal["", "tff", "bff"] = ""
    """Which field of an interlaced picture comes first, top or bottom; empty for progressive pictures."""
    hdr: tuple[str, ...] = ()
    """Kinds of HDR metadata, see `list_hdr_kinds`."""

    @property
    def bits(self) -> int:
        return 10 if self.pix_fmt.endswith("10le") else 8

    @property
    def has_alpha(self) -> bool:
        """Whether frames have transparent parts."""
        return self.pix_fmt.startswith("yuva")

    @property
    def step_s(self) -> Fraction:
        """Seconds of one frame at the average rate, in whole ticks."""
        return max(1, round(1 / self.rate / self.time_base)) * self.time_base


class VideoReader:
    """One pass over the frames of a video or image file; memory does not grow with its length.

    Raises MediaError when the file is missing, of another kind, or damaged (with the time reached). With `keep_going`
    it yields what decodes and logs one warning instead (none when `quiet`, for a file that was read before).
    `size` is the limit in pixels of the longer side of an image (None: 4096).
    Use as a context manager.
    """

    def __init__(
        self, path: Path | str, *, keep_going: bool = False, quiet: bool = False, size: int | None = None
    ) -> None:
        self.path = Path(path)
        self._quiet = quiet
        check_file(self.path)
        self._decoder: Decoder | None = None
        self._frames: Iterator[Frame]
        if is_image(self.path):
            self._open_image(keep_going, size)
        else:
            self._open_video(keep_going)
        self.width, self.height = self.format.width, self.format.height
        self.time_base = self.format.time_base

    def _open_image(self, keep_going: bool, size: int | None) -> None:
        photo = read_photo(self.path, keep_going=keep_going, size=size)
        picture = from_rgb(photo.rgb)
        length_s = 1 / DEFAULT_RATE
        self.format = _build_format(picture, length_s, DEFAULT_RATE, Fraction(1), is_image=True)
        self.has_audio = False
        self.frame_count_estimate: int | None = 1
        self.duration_s: Fraction | None = length_s
        """Estimate from the header; None if it states no duration."""
        self._frames = self._yield_image(Frame(picture, 0, Fraction(0), length_s, key=True), photo.notes)

    def _yield_image(self, frame: Frame, notes: list[str]) -> Iterator[Frame]:
        # Logged where the picture is used, so once per job.
        for note in [] if self._quiet else notes:
            log.warning("%s: %s", self.path, note)
        yield frame

    def _open_video(self, keep_going: bool) -> None:
        decoder = self._decoder = Decoder(self.path, keep_going, self._quiet)
        try:
            pictures = iter(decoder)
            first = next(pictures, None)
            if first is None:
                raise MediaError(
                    f"{self.path}: expected a video, found no picture that decodes; copy it again or convert it to mp4"
                )
            self._read_properties(decoder, first.picture)
        except BaseException:
            decoder.close()
            raise
        depth = 1 if is_huge(self.format.width, self.format.height) else _PREFETCH_FRAMES
        self._frames = prefetch(self._compute_durations(decoder, first, pictures), depth)

    def _read_properties(self, decoder: Decoder, first: av.VideoFrame) -> None:
        stream = decoder.stream
        sar = stream.sample_aspect_ratio or Fraction(1)
        if decoder.transposed and sar > 0:
            sar = 1 / sar
        video_format = _build_format(first, decoder.time_base, decoder.rate, sar)
        self.format = replace(video_format, field_order=decoder.field_order, hdr=decoder.hdr)
        self.has_audio = bool(decoder.container.streams.audio)
        self.duration_s = None
        if stream.duration:
            self.duration_s = stream.duration * decoder.time_base
        elif decoder.container.duration:
            self.duration_s = Fraction(decoder.container.duration, av.time_base)
        self.frame_count_estimate = stream.frames or None
        if not self.frame_count_estimate and self.duration_s:
            self.frame_count_estimate = max(1, round(self.duration_s * decoder.rate))

    def _compute_durations(
        self, decoder: Decoder, first: DecodedPicture, rest: Iterator[DecodedPicture]
    ) -> Iterator[Frame]:
        """Yield frames with their durations; a duration is known when the next picture is."""
        tick, index, current, last_s = decoder.time_base, 0, first, Fraction(0)
        for following in rest:
            last_s = (following.ticks - current.ticks) * tick
            yield Frame(current.picture, index, (current.ticks - first.ticks) * tick, last_s, current.key)
            current, index = following, index + 1
        time_s = (current.ticks - first.ticks) * tick
        yield Frame(current.picture, index, time_s, self._compute_last_duration(decoder, current, last_s), current.key)

    def _compute_last_duration(self, decoder: Decoder, last: DecodedPicture, before_s: Fraction) -> Fraction:
        tick, stream = decoder.time_base, decoder.stream
        ticks = int(last.picture.duration)
        if stream.duration and stream.start_time is not None and "mp4" in decoder.container.format.name:
            # A packet's duration in mp4 is the distance to the next one in decoding order; the stream's end is exact.
            ticks = stream.start_time + stream.duration - last.ticks
        if 0 < ticks * tick <= 60:
            return ticks * tick
        return before_s or self.format.step_s

    @property
    def is_seekable(self) -> bool:
        """Whether all time stamps so far were the file's own, so that seeking by them finds the frames."""
        return self._decoder is None or self._decoder.clock.repair_count == 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        return next(self._frames)

    def close(self) -> None:
        """Stop decoding and release the file."""
        if hasattr(self._frames, "close"):
            self._frames.close()
        if self._decoder is not None:
            self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _build_format(
    picture: av.VideoFrame, time_base: Fraction, rate: Fraction, sar: Fraction, is_image: bool = False
) -> VideoFormat:
    return VideoFormat(
        width=picture.width,
        height=picture.height,
        pix_fmt=picture.format.name,
        time_base=time_base,
        rate=rate,
        sar=sar if sar > 0 else Fraction(1),
        colorspace=int(picture.colorspace),
        color_range=int(picture.color_range),
        color_primaries=int(picture.color_primaries),
        color_trc=int(picture.color_trc),
        is_image=is_image,
    )


def find_video_start_s(path: Path) -> Fraction | None:
    """Return the time of the first picture on the file's own clock, in seconds; None if it has no moving picture."""
    if is_image(path):
        return None
    try:
        decoder = Decoder(path, keep_going=True)
    except MediaError:
        return None
    with closing(decoder):
        first = next(iter(decoder), None)
        return None if first is None else first.ticks * decoder.time_base
