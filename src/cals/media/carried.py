"""Further sound tracks, subtitles and chapters of a video, carried over into what is made of it."""

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
from cals.media.reader import first_picture_s
from cals.media.tracks import choose_track, facts_of

log = logging.getLogger(__name__)

_TEXT_CODECS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "srt", "webm": "webvtt"}
"""What subtitles of text are written as in a container that cannot take them as they are."""
_TEXT_NAMES = {"ass", "ssa", "srt", "subrip", "webvtt", "mov_text", "text"}
_TAGS = ("language", "title")


class _Track:
    """One stream of the input and its place in the output."""

    def __init__(self, container: OutputContainer, source: Stream, origin_s: Fraction) -> None:
        self._source = source
        self._origin_s = origin_s
        # The lead-in of mp4 sound has times below 0, for which Matroska would move all streams: it goes without.
        self._no_lead = container.format.name in ("matroska", "webm") and not _is_matroska(source)
        self._last_dts: int | None = None
        # Text of mp4 comes with packets that stand for nothing between two lines; decoding drops them.
        self._encodes = _is_text(source) and (_is_mp4_text(source) or not _fits(container.format.name, source))
        if self._encodes:
            made = cast(SubtitleStream, container.add_stream(_TEXT_CODECS[container.format.name]))
            source.codec_context.open()
            made.codec_context.subtitle_header = cast(SubtitleStream, source).codec_context.subtitle_header
            made.codec_context.time_base = source.time_base or Fraction(1, 1000)
            self._made: Stream = made
        else:
            self._made = container.add_stream_from_template(source)
        self._made.metadata.update({tag: source.metadata[tag] for tag in _TAGS if tag in source.metadata})
        # The sound that drives is the one to be played.
        self._made.disposition = Disposition(source.disposition & ~Disposition.default)

    def carry(self, packet: "Packet[Stream]") -> "Packet[Stream] | None":
        """The packet for the output, at its time there; None for what has no place."""
        tick, duration = packet.time_base, packet.duration or 0
        shift = round(self._origin_s / tick)
        pts = (packet.pts or 0) - shift
        dts = pts if packet.dts is None else packet.dts - shift
        if self._source.type == "subtitle" and pts < 0:  # text that stood before the first picture came
            pts, dts, duration = 0, 0, duration + pts
        early = duration < 0 or (pts if self._no_lead else pts + duration) < 0
        if early or (self._last_dts is not None and dts <= self._last_dts):
            return None
        carried = self._encoded(packet) if self._encodes else packet
        if carried is not None:
            self._last_dts = dts
            carried.pts, carried.dts, carried.duration, carried.time_base = pts, dts, duration, tick
            carried.stream = self._made
        return carried

    def _encoded(self, packet: "Packet[Stream]") -> "Packet[Stream] | None":
        try:
            text = cast(SubtitleStream, self._source).decode2(cast("Packet[SubtitleStream]", packet))
            return cast(SubtitleStream, self._made).codec_context.encode_subtitle(text) if text else None
        except (av.FFmpegError, ValueError) as error:
            log.debug("a subtitle that cannot be written anew: %s", error)
            return None


class CarriedTracks:
    """Copies all but one sound track, the subtitles and the chapters of `path`, in step with the picture.

    `replaced` names the sound track that stays behind, as `pick_sound` understands it. What the container cannot hold
    is logged.
    """

    def __init__(self, container: OutputContainer, path: Path, replaced: str | int | None) -> None:
        self._container = container
        self._origin_s = first_picture_s(path) or Fraction(0)
        self._tracks: dict[int, _Track] = {}
        self._held: Packet[Stream] | None = None
        self._input = open_input(path)
        try:
            self._add(path, replaced)
        except BaseException:
            self._input.close()
            raise
        self._packets = self._read()

    def _add(self, path: Path, replaced: str | int | None) -> None:
        container, sounds = self._container, self._input.streams.audio
        behind = choose_track(path, sounds, replaced) if sounds else None
        homeless = []
        for stream in (*sounds, *self._input.streams.subtitles):
            if stream is behind or stream.disposition & Disposition.dependent:  # parts of another track, no use alone
                continue
            if _fits(container.format.name, stream) or _is_text(stream):
                self._tracks[stream.index] = _Track(container, stream, self._origin_s)
            else:
                homeless.append(f"{'sound' if stream.type == 'audio' else 'subtitles'} ({facts_of(stream)})")
        if homeless:
            log.warning("%s: left out, as %s cannot hold it: %s", path, container.format.name, ", ".join(homeless))

    def _read(self) -> Iterator["Packet[Stream]"]:
        streams = [stream for stream in self._input.streams if stream.index in self._tracks]
        try:
            for packet in self._input.demux(streams) if streams else ():
                if packet.size and packet.pts is not None:
                    yield packet
        except (av.FFmpegError, OSError, IndexError) as error:  # whoever reads the pictures judges damage
            log.debug("%s: further tracks end: %s", self._input.name, error)

    def advance(self, until_s: Fraction) -> Iterator["Packet[Stream]"]:
        """Packets of all tracks that start before `until_s`."""
        while (packet := self._held or next(self._packets, None)) is not None:
            self._held = packet
            if cast(int, packet.pts) * packet.time_base - self._origin_s >= until_s:
                return
            self._held = None
            made = self._tracks[packet.stream.index].carry(packet)
            if made is not None:
                yield made

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
        """Release the file."""
        self._input.close()


def _fits(container: str, stream: Stream) -> bool:
    """Whether the container takes the stream as it is; tried on an empty file, as its header alone may refuse it."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _is_text(stream: Stream) -> bool:
    return stream.type == "subtitle" and stream.codec_context is not None and stream.codec_context.name in _TEXT_NAMES


def _is_matroska(stream: Stream) -> bool:
    return "matroska" in stream.container.format.name


def _is_mp4_text(stream: Stream) -> bool:
    return stream.codec_context.name == "mov_text"
