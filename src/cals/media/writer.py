"""Writing of frames and sound to a video file."""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.stream import VideoStream

from cals.errors import MediaError
from cals.media.background import Sink
from cals.media.blocks import SoundStream
from cals.media.encoding import Encoder, add_video, build_options, choose_encoder, open_x264, pad_picture, to_ticks
from cals.media.frame import Frame
from cals.media.opening import is_huge
from cals.media.output import OutputFile, build_write_error
from cals.media.passthrough import PassthroughTracks
from cals.media.reader import VideoFormat
from cals.media.smart_render import SmartEncoder, SmartRenderSource, open_smart_encoder
from cals.media.soundtrack import AudioTransformFn, Soundtrack
from cals.options import EncodeOptions

log = logging.getLogger(__name__)

_MAX_QUEUED_FRAMES = 3
"""Most frames that wait for the encoder; few, since each is a full picture."""

_MAX_IN_ORDER = 2
"""Up to so many pictures keep their order; x265 (4.2) takes their decoding times from memory that it never set."""
DEFAULT_ENCODE = EncodeOptions()
EncodeFn = Callable[[av.VideoFrame | None], "Iterable[Packet[VideoStream]]"]
_FAILURES = (av.FFmpegError, OSError, ValueError)


class VideoWriter:
    """Writer of a video like `like`, optionally with the sound of `audio` starting at its first frame.

    `audio` is a file, or a stream of sound: the writer closes it, but not where it cannot be opened itself.
    Problems of that sound are logged by `probe` and `mono_blocks`, not here. `audio_track`: see `select_sound_track`.
    `audio_transform` is applied to it block by block.
    `unchanged`: a video of whose pictures most may be copied as they are stored.
    `tracks_of`: a video whose further sound tracks, subtitles and chapters are copied if the container supports them.
    `sign` writes a signed copy of the finished file to a second path, or returns False to leave it unsigned.
    The file appears under its name only on a clean exit; on any exception nothing is left behind and an
    existing file stays as it was. `out` may not be one of `inputs`, nor exist unless `force`.
    Raises MediaError. Use as a context manager.
    """

    def __init__(
        self,
        out: Path | str,
        like: VideoFormat,
        *,
        audio: Path | str | SoundStream | None = None,
        audio_track: str | int | None = None,
        audio_transform: AudioTransformFn | None = None,
        unchanged: SmartRenderSource | None = None,
        tracks_of: Path | str | None = None,
        encode: EncodeOptions = DEFAULT_ENCODE,
        force: bool = False,
        metadata: Mapping[str, str] | None = None,
        inputs: Iterable[Path | str] = (),
        keep_going: bool = False,
        sign: Callable[[Path, Path], bool] | None = None,
    ) -> None:
        self.out = Path(out)
        self._like, self._sign = like, sign
        self._audio_track, self._keep_going, self._change_sound = audio_track, keep_going, audio_transform
        sound = Path(audio) if isinstance(audio, str | Path) else audio
        reserved = [Path(path) for path in inputs] + ([sound] if isinstance(sound, Path) else [])
        self._target = OutputFile(self.out, force=force, inputs=reserved)
        self._sink: Sink[Frame] | None = None
        self._unchanged = unchanged if encode.smart_render else None
        self._smart: SmartEncoder | None = None
        self._sound: Soundtrack | None = None
        self._tracks_of = None if tracks_of is None else Path(tracks_of)
        self._carried: PassthroughTracks | None = None
        self._container: OutputContainer | None = None
        self._end_s = Fraction(0)
        self._last_ticks = -1
        self._first_dts: int | None = None
        self._pending: Packet[VideoStream] | None = None
        try:
            # pictures that are copied need x264 for those between them
            is_copying = self._unchanged is not None and encode.codec == "nvenc"
            encoder = choose_encoder("auto" if is_copying else encode.codec, self._target.container, like)
            self._open(
                encoder,
                build_options(encoder, encode.crf, encode.preset),
                sound,
                metadata or {},
            )
        except BaseException as error:
            self._abort()
            if isinstance(error, _FAILURES):
                raise build_write_error(self.out, error) from error
            raise

    def _open(
        self,
        encoder: Encoder,
        options: dict[str, str],
        audio: Path | SoundStream | None,
        metadata: Mapping[str, str],
    ) -> None:
        # Without the second flag mp4 would drop all tags that it does not know.
        container_options = {"movflags": "+faststart+use_metadata_tags"} if self._is_mp4 else {}
        container = av.open(
            f"file:{self._target.partial}", "w", format=self._target.container, container_options=container_options
        )
        self._container = container
        container.metadata.update(metadata)
        context = self._open_video(container, encoder, options)
        self._pix_fmt, self._size = context.pix_fmt, (context.width, context.height)
        if audio is not None:
            self._sound = Soundtrack(
                container, audio, track=self._audio_track, keep_going=self._keep_going, transform=self._change_sound
            )
        if self._tracks_of is not None:
            # Where the driving sound is that of the video itself, its track is not copied a second time.
            is_own = isinstance(audio, Path) and audio.samefile(self._tracks_of)
            replaced = self._audio_track if is_own else None
            self._carried = PassthroughTracks(container, self._tracks_of, replaced)
        container.start_encoding()
        self._sink = Sink(self._encode_frame, 1 if is_huge(self._like.width, self._like.height) else _MAX_QUEUED_FRAMES)

    def _open_video(self, container: OutputContainer, encoder: Encoder, options: dict[str, str]) -> VideoCodecContext:
        """Open the video track, and return what its pictures have to be like."""
        if self._unchanged is not None and self._is_mp4 and encoder.codec == "libx264":
            build_context = partial(open_x264, encoder, self._like, options)
            self._smart = open_smart_encoder(container, self._unchanged, self._like, build_context)
        if self._smart is not None:
            self._encode: EncodeFn = self._smart.encode
            log.info("%s: %.0f %% of the pictures are copied as they are", self.out, 100 * self._smart.copy_share)
            return self._smart.stream.codec_context
        stream = add_video(container, encoder, self._like, options)
        self._encode = stream.encode
        return stream.codec_context

    @property
    def _is_mp4(self) -> bool:
        return self._target.container in ("mp4", "mov")

    def write(self, frame: Frame) -> None:
        """Write the next frame at its own time."""
        assert self._sink is not None
        try:
            self._sink.put(frame)
        except _FAILURES as error:
            raise build_write_error(self.out, error) from error

    def _encode_frame(self, frame: Frame) -> None:
        picture = frame.picture
        if picture.format.name != self._pix_fmt:
            picture = picture.reformat(format=self._pix_fmt)
        if (picture.width, picture.height) != self._size:
            if (frame.width, frame.height) != (self._like.width, self._like.height):
                raise MediaError(
                    f"{self.out}: expected frames of {self._like.width}x{self._like.height}, "
                    f"found {frame.width}x{frame.height}; make the writer like the frames"
                )
            picture = pad_picture(picture, *self._size)
        tick = self._like.time_base
        self._last_ticks = max(to_ticks(frame.time_s, tick), self._last_ticks + 1)
        picture.pts, picture.time_base = self._last_ticks, tick
        picture.duration = max(1, to_ticks(frame.duration_s, tick))
        # A decoded picture keeps its type; the encoder would take that as a request.
        picture.pict_type = PictureType.NONE
        self._end_s = frame.time_s + frame.duration_s
        self._mux_video(self._encode(picture))
        self._mux_tracks(self._end_s)

    def _mux_tracks(self, until_s: Fraction) -> None:
        assert self._container is not None
        tracks: tuple[Soundtrack | PassthroughTracks | None, ...] = (self._sound, self._carried)
        for track in tracks:
            for packet in track.advance(until_s) if track is not None else ():
                self._container.mux(packet)

    def _mux_video(self, packets: "Iterable[Packet[VideoStream]]") -> None:
        """Mux all but the latest packet: the duration of the last one is only known at the end."""
        assert self._container is not None
        for packet in packets:
            if self._pending is not None:
                self._container.mux(self._pending)
            if self._first_dts is None:
                self._first_dts = packet.dts
            self._pending = packet

    def _finalize(self) -> None:
        assert self._container is not None
        assert self._sink is not None
        self._sink.finish()
        if self._last_ticks < 0:
            raise MediaError(f"{self.out}: expected frames to write, found none; nothing was written")
        last_packets = list(self._encode(None))
        if self._pending is None and self._smart is None and len(last_packets) <= _MAX_IN_ORDER:
            for video_packet in last_packets:
                video_packet.dts = video_packet.pts
        self._mux_video(last_packets)
        if self._pending is not None:
            if self._is_mp4 and self._pending.dts is not None and self._first_dts is not None:
                # In mp4 the length of the track follows from decoding times, so the last packet is extended to its end.
                end_ticks = to_ticks(self._end_s, self._like.time_base)
                self._pending.duration = max(1, end_ticks - (self._pending.dts - self._first_dts))
            self._container.mux(self._pending)
        if self._sound is not None:
            for packet in self._sound.finish():
                self._container.mux(packet)
            self._sound.close()
        if self._carried is not None:
            self._carried.finish(self._end_s)
            self._carried.close()
        if self._smart is not None:
            self._smart.close()
        self._container.close()
        self._container = None
        if self._sign is not None:
            self._target.rewrite(self._sign)
        self._target.commit()

    def _abort(self) -> None:
        with suppress(OSError):  # where open files cannot be removed, it is removed below
            self._target.discard()
        try:
            if self._sink is not None:
                self._sink.abandon()
            if self._sound is not None:
                self._sound.close()
            if self._carried is not None:
                self._carried.close()
            if self._smart is not None:
                self._smart.close()
            if self._container is not None:
                self._container.close()
        except _FAILURES as error:
            log.debug("%s: while giving up: %s", self.out, error)
        finally:
            self._target.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            self._finalize()
        except BaseException as failure:
            self._abort()
            if isinstance(failure, _FAILURES):
                raise build_write_error(self.out, failure) from failure
            raise
