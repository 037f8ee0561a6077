"""Smart rendering: groups of pictures in which nothing changes keep their bytes, only the others are encoded.

It needs H.264 in MP4 or MOV, in and out. The encoder's parameter sets get a number that those of the source do not
have, so that one track holds pictures of both.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from cals.media.avc import AvcConfig, is_idr, join_units, split_annex_b
from cals.media.decoding import find_video_stream
from cals.media.opening import open_input
from cals.media.pictures import UPRIGHT, read_turn
from cals.media.reader import VideoFormat

_PIX_FMTS = ("yuv420p", "yuvj420p")
Interval = tuple[Fraction, Fraction]


@dataclass(frozen=True, kw_only=True)
class SmartRenderSource:
    """A video of whose pictures most are to be kept."""

    path: Path
    changed_s: Sequence[Interval]
    """Times in which pictures may change, in seconds after the first picture."""


@dataclass(frozen=True)
class _Group:
    """Pictures from one that refers to no earlier one, to before the next such one."""

    start: int
    """Time of the first picture, in ticks after the first of the video."""
    end: int
    packets: int
    is_kept: bool


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The groups of a video, and the clock of its packets."""

    groups: Sequence[_Group]
    first_pts: int
    delay: int
    """Largest distance of a picture's time from its decoding time, in ticks."""


class SmartEncoder:
    """Yields the packets of a track: those of the source where nothing changes, those of an encoder elsewhere.

    It reads the source once, in step with the pictures. Close it at the end.
    """

    def __init__(
        self,
        container: OutputContainer,
        path: Path,
        plan: _Plan,
        config: AvcConfig,
        build_context: Callable[[str], VideoCodecContext],
    ) -> None:
        self._plan = plan
        parameter_id = config.find_free_id()
        self._build_context = partial(build_context, f"sps-id={parameter_id}:bframes=0")
        own = AvcConfig.from_units(split_annex_b(bytes(self._build_context().extradata or b"")))
        self._source = open_input(path)
        source_stream = find_video_stream(self._source)
        assert source_stream is not None
        self.stream: VideoStream = container.add_stream_from_template(source_stream)
        self.stream.codec_context.extradata = config.add(own).serialize()
        self.stream.codec_context.codec_tag = "avc1"
        self._packets = (packet for packet in self._source.demux(source_stream) if packet.dts is not None)
        self._groups = iter(plan.groups)
        self._group: _Group | None = None
        self._context: VideoCodecContext | None = None
        self._last_dts: int | None = None

    @property
    def copy_share(self) -> float:
        """Share of the pictures whose bytes are kept."""
        kept = sum(group.packets for group in self._plan.groups if group.is_kept)
        return kept / sum(group.packets for group in self._plan.groups)

    def encode(self, picture: av.VideoFrame | None) -> "Iterator[Packet[VideoStream]]":
        """Yield packets after the next picture, whose time counts from the first one; None ends the track."""
        if picture is None:
            yield from self._flush()
            return
        assert picture.pts is not None
        while self._group is None or picture.pts >= self._group.end:
            self._group = next(self._groups, _Group(picture.pts, sys.maxsize, 0, is_kept=False))
            packets = islice(self._packets, self._group.packets)
            if self._group.is_kept:
                yield from self._flush()
                yield from map(self._copy, packets)
            else:
                deque(packets, maxlen=0)  # passed over
        if not self._group.is_kept:
            self._context = self._context or self._build_context()
            yield from map(self._convert, self._context.encode(picture))

    def _flush(self) -> "Iterator[Packet[VideoStream]]":
        if self._context is not None:
            yield from map(self._convert, self._context.encode(None))
            self._context = None  # the next pictures begin anew, without reference to these

    def _copy(self, packet: "Packet[VideoStream]") -> "Packet[VideoStream]":
        assert packet.pts is not None
        assert packet.dts is not None
        packet.pts, packet.dts = packet.pts - self._plan.first_pts, packet.dts - self._plan.first_pts
        return self._pass(packet)

    def _convert(self, encoded: "Packet[VideoStream]") -> "Packet[VideoStream]":
        assert encoded.pts is not None
        packet = cast("Packet[VideoStream]", Packet(join_units(split_annex_b(bytes(encoded)))))
        packet.pts, packet.duration, packet.time_base = encoded.pts, encoded.duration, encoded.time_base
        packet.is_keyframe = encoded.is_keyframe
        earliest = packet.pts - self._plan.delay
        packet.dts = earliest if self._last_dts is None else max(earliest, self._last_dts + 1)
        return self._pass(packet)

    def _pass(self, packet: "Packet[VideoStream]") -> "Packet[VideoStream]":
        packet.stream, self._last_dts = self.stream, packet.dts
        return packet

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def open_smart_encoder(
    container: OutputContainer,
    unchanged: SmartRenderSource,
    like: VideoFormat,
    build_context: Callable[[str], VideoCodecContext],
) -> SmartEncoder | None:
    """Open the encoder of a track of `container`; None where the source does not allow it, or nothing could be kept.

    `build_context` builds and opens an encoder for pictures like `like`, with additional parameters of x264.
    """
    with open_input(unchanged.path) as source:
        planned = _plan(source, unchanged, like)
    return None if planned is None else SmartEncoder(container, unchanged.path, *planned, build_context)


def _plan(source: InputContainer, unchanged: SmartRenderSource, like: VideoFormat) -> tuple[_Plan, AvcConfig] | None:
    """Plan what is copied; None for files and tracks of other kinds, damage, and where everything changes."""
    stream = find_video_stream(source)
    if stream is None:
        return None
    config = AvcConfig.parse(bytes(stream.codec_context.extradata or b""))
    try:
        if config is None or config.find_free_id() is None or not _is_supported(source, stream, like):
            return None
        plan = _plan_groups(source, stream, unchanged.changed_s)
    except av.FFmpegError:
        return None
    return None if plan is None or not any(group.is_kept for group in plan.groups) else (plan, config)


def _is_supported(source: InputContainer, stream: VideoStream, like: VideoFormat) -> bool:
    context = stream.codec_context
    if "mp4" not in source.format.name or context.name != "h264" or like.field_order:
        return False
    if (context.width, context.height, context.pix_fmt) != (like.width, like.height, like.pix_fmt):
        return False
    if stream.time_base != like.time_base or like.pix_fmt not in _PIX_FMTS or like.width % 2 or like.height % 2:
        return False
    picture = next(source.decode(stream), None)
    source.seek(0)
    return picture is not None and read_turn(picture) == UPRIGHT


def _plan_groups(source: InputContainer, stream: VideoStream, changed_s: Sequence[Interval]) -> _Plan | None:
    """Divide the packets of a video into groups; None where their times do not tell the pictures' order and place."""
    times: list[int] = []
    starts: list[int] = []
    delay, last_dts, last_duration = 0, None, 0
    for packet in source.demux(stream):
        if packet.dts is None and packet.pts is None:
            continue  # the end
        if packet.dts is None or packet.pts is None or packet.is_discard or packet.is_corrupt:
            return None
        if (last_dts is not None and packet.dts <= last_dts) or packet.dts > packet.pts:
            return None
        if packet.is_keyframe and is_idr(bytes(packet)):
            starts.append(len(times))
        times.append(packet.pts)
        delay, last_dts = max(delay, packet.pts - packet.dts), packet.dts
        last_duration = packet.duration or 1
    if not starts or starts[0] != 0 or len(set(times)) != len(times):
        return None
    first, tick = min(times), stream.time_base or Fraction(1)
    groups = []
    for begin, after in pairwise([*starts, len(times)]):
        start, last = times[begin] - first, max(times[begin:after]) - first
        end = times[after] - first if after < len(times) else last + last_duration
        if min(times[begin:after]) - first != start or last >= end:
            return None
        is_kept = not any(from_s < end * tick and to_s > start * tick for from_s, to_s in changed_s)
        groups.append(_Group(start, end, after - begin, is_kept))
    return _Plan(groups=groups, first_pts=first, delay=delay)
