"""Decoding of the video stream of a file to upright pictures with repaired time stamps, and seeking in it."""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, cast

import av
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from cals.errors import MediaError
from cals.media.clock import Clock, choose_rate, estimate_rate
from cals.media.demuxing import Demuxer, decode_packet
from cals.media.opening import Damage, choose_thread_type, count_threads, open_input
from cals.media.pictures import UPRIGHT, build_converter, list_hdr_kinds, read_turn

log = logging.getLogger(__name__)

_MAX_SIDE_PX = 16384
_MAX_TRUSTED_RATE = 120
_RATE_SAMPLE_PICTURES = 64
_BOTTOM_FIRST = (3, 4)
"""FFmpeg's field orders in which the bottom field is displayed first, in whichever order they are coded."""
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""WebM stores alpha apart from the picture, where FFmpeg's own decoders ignore it."""
_MAX_PACKETS_TO_KEY = 2
"""Most packets between a corrupt packet at a join and the next key frame: FFmpeg's parsers lag by a picture."""
_COLLECT_PX = 500_000
"""From this size on pictures are freed at once, which takes a tenth of a second; smaller ones may wait."""


class DecodedPicture(NamedTuple):
    """An upright picture and its time stamp."""

    ticks: int
    key: bool
    picture: av.VideoFrame


def find_video_stream(container: av.container.InputContainer) -> VideoStream | None:
    """Find the video stream to use: the first moving one; cover art in sound files does not count."""
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    # An animated AVIF has a still picture before the moving ones.
    return next((stream for stream in streams if stream.frames != 1), streams[0] if streams else None)


class Decoder:
    """Decoder of one file, for one pass; damage is an error unless `keep_going`; `quiet` logs no repairs."""

    def __init__(self, path: Path, keep_going: bool = False, quiet: bool = False) -> None:
        self.path = path
        self._quiet = quiet
        self._is_open = True
        self.damage = Damage(path, keep_going)
        self.container = open_input(path)
        try:
            self.stream = self._select_stream()
        except BaseException:
            self.container.close()
            raise
        self.time_base = self.stream.time_base or Fraction(1, 90_000)
        self.rate = self._find_rate()
        self.clock = Clock(self.time_base, self.rate)
        self.first_ticks: int | None = None
        self.transposed = False
        """Whether width and height are swapped to get upright; known with the first picture, as the next three are."""
        self.field_order: Literal["", "tff", "bff"] = ""
        """Which field of interlaced pictures comes first; empty for progressive and for rotated pictures."""
        self.hdr: tuple[str, ...] = ()
        self._convert: Callable[[av.VideoFrame], av.VideoFrame] | None = None
        self._demuxer = Demuxer(self.container, self.damage)
        self._codec = self._open_codec()
        self._packets = 0
        self._packet_is_key = False
        self._ticks = 0
        self._size = (0, 0)
        self._resized = False

    def _select_stream(self) -> VideoStream:
        stream = find_video_stream(self.container)
        if stream is None:
            kinds = sorted({str(other.type) for other in self.container.streams}) or ["nothing"]
            raise MediaError(f"{self.path}: expected a video or an image, found only {', '.join(kinds)}; give a video")
        if stream.codec_context is None:
            raise MediaError(f"{self.path}: expected a codec this build can decode, found none; convert it to H.264")
        if max(stream.width, stream.height) > _MAX_SIDE_PX:
            size = f"{stream.width}x{stream.height}"
            raise MediaError(f"{self.path}: expected at most {_MAX_SIDE_PX} px a side, found {size}; scale it down")
        stream.thread_type = choose_thread_type(stream.width, stream.height)
        stream.codec_context.thread_count = count_threads()
        return stream

    def _open_codec(self) -> VideoCodecContext:
        """Open the stream's own decoder; for WebM with alpha one that decodes the alpha too."""
        codec = _ALPHA_DECODERS.get(self.stream.codec_context.name)
        tags = {name.lower(): value for name, value in self.stream.metadata.items()}
        if tags.get("alpha_mode") != "1" or codec is None:
            return self.stream.codec_context
        context = cast(VideoCodecContext, av.CodecContext.create(codec, "r"))
        context.thread_type, context.thread_count = self.stream.thread_type, count_threads()
        return context

    def _find_rate(self) -> Fraction:
        stream = self.stream
        stated = [rate for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
        if stated and stated[0] <= _MAX_TRUSTED_RATE:
            return choose_rate(*stated)
        # Containers need not state a rate; FFmpeg may then mistake their tick for the frame duration.
        with closing(open_input(self.path)) as container:
            packets = Demuxer(container, Damage(self.path, keep_going=True)).iterate_packets(stream, Fraction)
            stamps = [packet.pts for packet in islice(packets, _RATE_SAMPLE_PICTURES) if packet.pts is not None]
        return choose_rate(*stated, measured=estimate_rate(stamps, self.time_base))

    @property
    def position_s(self) -> Fraction:
        """Seconds after the first picture that have been decoded."""
        return (self._ticks - (self.first_ticks or 0)) * self.time_base

    def decode_pictures(self) -> Iterator[av.VideoFrame]:
        """Yield pictures as decoded, in display order; what cannot be decoded is noted as damage and skipped."""
        # At a join of MPEG-TS recordings one of the last packets before it is flagged as corrupt, but is not.
        patience = _MAX_PACKETS_TO_KEY if self.container.format.name == "mpegts" else 0
        countdown: int | None = None
        for packet in self._demuxer.iterate_packets(self.stream, lambda: self.position_s):
            self._packets += 1
            self._packet_is_key = packet.is_keyframe
            if packet.is_keyframe:
                countdown = None
            if countdown is not None:
                countdown -= 1
            elif packet.is_corrupt:
                countdown = patience
            if countdown == 0:
                self._note_corrupt()
                countdown = None
            yield from self._decode(cast("av.Packet[VideoStream]", packet))
        if countdown is not None:
            self._note_corrupt()
        yield from self._decode(None)

    def _note_corrupt(self) -> None:
        self.damage.note("a packet that is cut short or corrupt", self.position_s)

    def _decode(self, packet: "av.Packet[VideoStream] | None") -> Iterator[av.VideoFrame]:
        for picture in decode_packet(self._codec.decode, packet, self.damage, self.position_s, what="a picture"):
            if picture.is_corrupt:
                self.damage.note("a picture with decoding errors", self.position_s)
            yield picture

    def __iter__(self) -> Iterator[DecodedPicture]:
        """Yield upright pictures in display order with strictly increasing time stamps."""
        for picture in self.decode_pictures():
            if self._convert is None:
                self._convert = build_converter(picture)
                self._read_facts(picture)
            self._ticks = self.clock.stamp(picture.pts, picture.dts, picture.duration)
            if self.first_ticks is None:
                self.first_ticks = self._ticks
            if not self._resized and self._size != (picture.width, picture.height):
                self._report_size(picture)
            yield DecodedPicture(self._ticks, self._is_key(picture), self._convert(picture))
        self._check_end()
        if not self._quiet:
            self.damage.report()
            self.clock.report(self.path)

    def _read_facts(self, first: av.VideoFrame) -> None:
        turn = read_turn(first)
        self.transposed, self.hdr = turn[0], list_hdr_kinds(first)
        self._size = first.width, first.height
        if first.interlaced_frame and turn == UPRIGHT:
            self.field_order = "bff" if self.stream.codec_context.field_order in _BOTTOM_FIRST else "tff"

    def _report_size(self, picture: av.VideoFrame) -> None:
        self._resized = True
        if not self._quiet:
            sizes = (*self._size, picture.width, picture.height)
            log.warning("%s: pictures go from %dx%d to %dx%d; scaled to the first size", self.path, *sizes)

    def _check_end(self) -> None:
        """Note damage if the file ends before its header says."""
        if "mp4" in self.container.format.name:
            indexed = len(self.stream.index_entries)
            if self._packets < indexed:
                self.damage.note(
                    f"{self._packets} of {indexed} listed pictures: the file is cut short", self.position_s
                )
            return
        missing_s = self._demuxer.compute_missing_s(self.stream)
        # Headers are rounded, and the last packet may lack a duration.
        if missing_s is not None and self.first_ticks is not None and missing_s > max(Fraction(1, 2), 3 / self.rate):
            stated_s = float(self._demuxer.end_s + missing_s)
            self.damage.note(f"the end of a file that states {stated_s:.2f} s: it is cut short", self.position_s)

    def seek_pictures(self, ticks: int) -> Iterator[DecodedPicture]:
        """Seek to a key frame at or before `ticks` and yield upright pictures, with the file's unrepaired time stamps.

        Some containers seek elsewhere; pictures before the first key frame may be broken.
        """
        if self.first_ticks is None:
            next(iter(self), None)
        convert = self._convert
        if convert is None:
            return
        try:
            self.container.seek(ticks, stream=self.stream, backward=True)
            self._codec.flush_buffers()
        except (av.FFmpegError, OSError) as error:
            log.debug("%s: cannot seek: %s", self.path, error)
            return
        for picture in self.decode_pictures():
            if picture.pts is not None:
                yield DecodedPicture(picture.pts, self._is_key(picture), convert(picture))

    def _is_key(self, picture: av.VideoFrame) -> bool:
        """Return whether decoding can start at the picture; for libvpx the packet just read says so."""
        return bool(picture.key_frame) or (self._codec is not self.stream.codec_context and self._packet_is_key)

    def find_first_ticks(self) -> int:
        """Return the time stamp of the first picture."""
        if self.first_ticks is None:
            next(iter(self), None)
        return self.first_ticks or 0

    def close(self) -> None:
        """Close the file and free the pictures that the codec holds."""
        if self._is_open:
            self._is_open = False
            self.container.close()
            del self.container, self.stream, self._demuxer, self._codec
            if self._size[0] * self._size[1] >= _COLLECT_PX:
                gc.collect()  # PyAV frees a closed codec only with the last reference to it, which is in a cycle
