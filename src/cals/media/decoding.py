"""The video stream of one file as upright pictures with repaired time stamps, and seeking in it."""

import gc
import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import av
from av.stream import Disposition
from av.video.stream import VideoStream

from cals.errors import MediaError
from cals.media.clock import Clock, plausible_rate
from cals.media.opening import Damage, open_input, reason
from cals.media.pictures import converter, is_clear, turn_of

log = logging.getLogger(__name__)

_MAX_SIDE_PX = 16384


class Stamped(NamedTuple):
    """An upright picture and its time stamp."""

    ticks: int
    key: bool
    picture: av.VideoFrame


def video_stream(container: av.container.InputContainer) -> VideoStream | None:
    """The picture to work on: the first moving one; cover art in sound files is none."""
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    shown = [stream for stream in container.streams.video if not stream.disposition & covers]
    # An animated AVIF has a still picture before the moving ones.
    return next((stream for stream in shown if stream.frames != 1), shown[0] if shown else None)


class Decoder:
    """Decodes one file from its start, once; damage is judged by `keep_going`; `quiet` reports no repairs."""

    def __init__(self, path: Path, keep_going: bool = False, quiet: bool = False) -> None:
        self.path = path
        self._quiet = quiet
        self._is_open = True
        self.damage = Damage(path, keep_going)
        self.container = open_input(path)
        try:
            self.stream = self._pick()
        except BaseException:
            self.container.close()
            raise
        self.time_base = self.stream.time_base or Fraction(1, 90_000)
        self.rate = plausible_rate(self.stream.average_rate, self.stream.guessed_rate, self.stream.base_rate)
        self.clock = Clock(self.time_base, self.rate)
        self.first_ticks: int | None = None
        self.transposed = False
        """Width and height change places on the way to upright; known with the first picture."""
        self.is_clear = False
        """The first picture has parts to see through."""
        self._convert: Callable[[av.VideoFrame], av.VideoFrame] | None = None
        self._packets = 0
        self._packet_end_s = Fraction(0)
        self._ticks = 0

    def _pick(self) -> VideoStream:
        stream = video_stream(self.container)
        if stream is None:
            kinds = sorted({str(other.type) for other in self.container.streams}) or ["nothing"]
            raise MediaError(f"{self.path}: expected a video or an image, found only {', '.join(kinds)}; give a video")
        if stream.codec_context is None:
            raise MediaError(f"{self.path}: expected a codec this build can decode, found none; convert it to H.264")
        if max(stream.width, stream.height) > _MAX_SIDE_PX:
            size = f"{stream.width}x{stream.height}"
            raise MediaError(f"{self.path}: expected at most {_MAX_SIDE_PX} px a side, found {size}; scale it down")
        stream.thread_type = "AUTO"
        return stream

    @property
    def reached_s(self) -> Fraction:
        """Seconds after the first picture that decoding has come to."""
        return (self._ticks - (self.first_ticks or 0)) * self.time_base

    def raw(self) -> Iterator[av.VideoFrame]:
        """Pictures as decoded, in display order; what cannot be decoded is noted as damage and passed over."""
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets, None)
            except IndexError:
                # PyAV trips at the very end of a file in which further streams turned up on the way.
                yield from self._decoded(None)
                return
            except (av.FFmpegError, OSError) as error:
                self.damage.note(f"an unreadable part ({reason(error)})", self.reached_s, error)
                # The demuxer is lost, but the decoder still holds pictures back.
                yield from self._decoded(None)
                return
            if packet is None:
                return
            if packet.pts is not None and packet.size:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._packet_end_s = max(self._packet_end_s, end)
            if packet.stream_index != self.stream.index:
                continue
            self._packets += bool(packet.size)
            yield from self._decoded(cast("av.Packet[VideoStream]", packet))

    def _decoded(self, packet: "av.Packet[VideoStream] | None") -> Iterator[av.VideoFrame]:
        if packet is not None and packet.is_corrupt and packet.size:
            self.damage.note("a packet that is cut short or corrupt", self.reached_s)
        try:
            pictures = self.stream.decode(packet)
        except EOFError:
            return
        except (av.FFmpegError, OSError, ValueError) as error:
            self.damage.note(f"a picture that cannot be decoded ({reason(error)})", self.reached_s, error)
            return
        for picture in pictures:
            if picture.is_corrupt:
                self.damage.note("a picture with decoding errors", self.reached_s)
            yield picture

    def __iter__(self) -> Iterator[Stamped]:
        """Upright pictures in display order with time stamps that always grow."""
        for picture in self.raw():
            if self._convert is None:
                self._convert = converter(picture)
                self.transposed = turn_of(picture)[0]
                self.is_clear = is_clear(picture, self.stream.metadata)
            self._ticks = self.clock.stamp(picture.pts, picture.dts, picture.duration)
            if self.first_ticks is None:
                self.first_ticks = self._ticks
            yield Stamped(self._ticks, bool(picture.key_frame), self._convert(picture))
        self._check_end()
        if not self._quiet:
            self.damage.report()
            self.clock.report(self.path)

    def _check_end(self) -> None:
        """Notice a file that ends before its own header says it does."""
        name = self.container.format.name
        if "mp4" in name:
            listed = len(self.stream.index_entries)
            if self._packets < listed:
                self.damage.note(f"{self._packets} of {listed} listed pictures: the file is cut short", self.reached_s)
            return
        stated = None
        if "matroska" in name and self.container.duration:
            stated = Fraction(self.container.duration, av.time_base)
        elif name == "avi" and self.stream.duration:
            stated = self.stream.duration * self.time_base
        if stated is not None and self.first_ticks is not None:
            start = Fraction(self.container.start_time or 0, av.time_base)
            missing = stated - (self._packet_end_s - min(start, Fraction(0)))
            # Headers round, and a last packet may not say how long it is.
            if missing > max(Fraction(1, 2), 3 / self.rate):
                self.damage.note(
                    f"the end of a file that states {float(stated):.2f} s: it is cut short", self.reached_s
                )

    def from_near(self, ticks: int) -> Iterator[Stamped]:
        """Upright pictures from a key frame at or before `ticks`, by the file's own unrepaired time stamps.

        Some containers come out elsewhere; pictures before the first key frame may be broken.
        """
        if self.first_ticks is None:
            next(iter(self), None)
        convert = self._convert
        if convert is None:
            return
        try:
            self.container.seek(ticks, stream=self.stream, backward=True)
        except (av.FFmpegError, OSError) as error:
            log.debug("%s: cannot seek: %s", self.path, error)
            return
        for picture in self.raw():
            if picture.pts is not None:
                yield Stamped(picture.pts, bool(picture.key_frame), convert(picture))

    def origin(self) -> int:
        """The time stamp of the first picture."""
        if self.first_ticks is None:
            next(iter(self), None)
        return self.first_ticks or 0

    def close(self) -> None:
        """Release the file, and the pictures that the codec holds."""
        if self._is_open:
            self._is_open = False
            self.container.close()
            # PyAV frees a closed codec only with the last reference to it, which is in a circle.
            del self.container, self.stream
            gc.collect()
