"""Copying of further sound tracks, subtitles and chapters from the input video to the output."""

import io
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream

from cals.media.opening import open_input
from cals.media.reader import find_video_start_s
from cals.media.tracks import choose_track, describe_track

log = logging.getLogger(__name__)

_TEXT_CODECS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "srt", "webm": "webvtt"}
"""Codec for text subtitles in a container that does not support the original one."""
_TEXT_NAMES = {"ass", "ssa", "srt", "subrip", "webvtt", "mov_text", "text"}
_TAGS = ("language", "title")


class _StreamCopy:
    """One stream of the input and its counterpart in the output."""

    def __init__(self, container: OutputContainer, source: Stream, origin_s: Fraction) -> None:
        self._source = source
        self._origin_s = origin_s
        # The lead-in of mp4 sound has times below 0, for which Matroska would shift all streams: it is dropped there.
        self._drops_lead_in = container.format.name in ("matroska", "webm") and not _is_matroska(source)
        self._last_dts: int | None = None
        # mp4 text has empty packets between two lines; decoding drops them.
        self._encodes = _is_text(source) and (
            _is_mp4_text(source) or not _supports_stream(container.format.name, source)
        )
        if self._encodes:
            encoded = cast(SubtitleStream, container.add_stream(_TEXT_CODECS[container.format.name]))
            source.codec_context.open()
            encoded.codec_context.subtitle_header = cast(SubtitleStream, source).codec_context.subtitle_header
            encoded.codec_context.time_base = source.time_base or Fraction(1, 1000)
            self._output: Stream = encoded
        else:
            self._output = container.add_stream_from_template(source)
        self._output.metadata.update({tag: source.metadata[tag] for tag in _TAGS if tag in source.metadata})
        # Players shall select the driving sound by default.
        self._output.disposition = Disposition(source.disposition & ~Disposition.default)

    def carry(self, packet: "Packet[Stream]") -> "Packet[Stream] | None":
        """Return the packet with its times in the output; None if it has no place there."""
        tick, duration = packet.time_base, packet.duration or 0
        shift = round(self._origin_s / tick)
        pts = (packet.pts or 0) - shift
        dts = pts if packet.dts is None else packet.dts - shift
        if self._source.type == "subtitle" and pts < 0:  # text shown before the first picture
            pts, dts, duration = 0, 0, duration + pts
        early = duration < 0 or (pts if self._drops_lead_in else pts + duration) < 0
        if early or (self._last_dts is not None and dts <= self._last_dts):
            return None
        result = self._encode(packet) if self._encodes else packet
        if result is not None:
            self._last_dts = dts
            result.pts, result.dts, result.duration, result.time_base = pts, dts, duration, tick
            result.stream = self._output
        return result

    def _encode(self, packet: "Packet[Stream]") -> "Packet[Stream] | None":
        try:
            text = cast(SubtitleStream, self._source).decode2(cast("Packet[SubtitleStream]", packet))
            return cast(SubtitleStream, self._output).codec_context.encode_subtitle(text) if text else None
        except (av.FFmpegError, ValueError) as error:
            log.debug("a subtitle that cannot be written anew: %s", error)
            return None


class PassthroughTracks:
    """Copier of sound tracks, subtitles and chapters of `path`, in step with the picture, except one sound track.

    `replaced` names the sound track that is left out, in the form that `select_sound_track` takes. Streams that the
    container does not support are logged.
    """

    def __init__(self, container: OutputContainer, path: Path, replaced: str | int | None) -> None:
        self._container = container
        self._origin_s = find_video_start_s(path) or Fraction(0)
        self._tracks: dict[int, _StreamCopy] = {}
        self._pending: Packet[Stream] | None = None
        self._input = open_input(path)
        try:
            self._add_streams(path, replaced)
        except BaseException:
            self._input.close()
            raise
        self._packets = self._iterate_packets()

    def _add_streams(self, path: Path, replaced: str | int | None) -> None:
        container, sounds = self._container, self._input.streams.audio
        left_out = choose_track(path, sounds, replaced) if sounds else None
        unsupported = []
        for stream in (*sounds, *self._input.streams.subtitles):
            if stream is left_out or stream.disposition & Disposition.dependent:  # part of another track, useless alone
                continue
            if _supports_stream(container.format.name, stream) or _is_text(stream):
                self._tracks[stream.index] = _StreamCopy(container, stream, self._origin_s)
            else:
                unsupported.append(f"{'sound' if stream.type == 'audio' else 'subtitles'} ({describe_track(stream)})")
        if unsupported:
            log.warning("%s: left out, as %s cannot hold it: %s", path, container.format.name, ", ".join(unsupported))

    def _iterate_packets(self) -> Iterator["Packet[Stream]"]:
        streams = [stream for stream in self._input.streams if stream.index in self._tracks]
        try:
            for packet in self._input.demux(streams) if streams else ():
                if packet.size and packet.pts is not None:
                    yield packet
        except (av.FFmpegError, OSError, IndexError) as error:  # the reader of the pictures reports damage
            log.debug("%s: further tracks end: %s", self._input.name, error)

    def advance(self, until_s: Fraction) -> Iterator["Packet[Stream]"]:
        """Yield the packets of all tracks that start before `until_s`."""
        while (packet := self._pending or next(self._packets, None)) is not None:
            self._pending = packet
            if cast(int, packet.pts) * packet.time_base - self._origin_s >= until_s:
                return
            self._pending = None
            carried = self._tracks[packet.stream.index].carry(packet)
            if carried is not None:
                yield carried

    def finish(self, end_s: Fraction) -> None:
        """Write the chapters that start before `end_s`."""
        chapters = []
        for chapter in self._input.chapters():
            tick = chapter["time_base"] or Fraction(1, av.time_base)
            shift, last = round(self._origin_s / tick), int(end_s / tick)
            start, end = max(0, chapter["start"] - shift), min(last, chapter["end"] - shift)
            if start < end:
                chapters.append({**chapter, "start": start, "end": end})
        if chapters:
            self._container.set_chapters(chapters)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the file."""
        self._input.close()


def _supports_stream(container: str, stream: Stream) -> bool:
    """Return whether the container supports the stream as it is; tested on an empty file, since its header may fail."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as muxer:
            muxer.add_stream_from_template(stream)
            muxer.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _is_text(stream: Stream) -> bool:
    return stream.type == "subtitle" and stream.codec_context is not None and stream.codec_context.name in _TEXT_NAMES


def _is_matroska(stream: Stream) -> bool:
    return "matroska" in stream.container.format.name


def _is_mp4_text(stream: Stream) -> bool:
    return stream.codec_context.name == "mov_text"
