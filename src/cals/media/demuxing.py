"""Demuxing of a media file in storage order."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, TypeVar

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from cals.media.opening import Damage, describe_error

T = TypeVar("T")


def decode_packet(
    decode: Callable[["Packet[Any] | None"], list[T]],
    packet: "Packet[Any] | None",
    damage: Damage,
    reached_s: Fraction,
    *,
    what: str,
) -> list[T]:
    """Decode a packet, or with None what the decoder still holds; data that cannot be decoded is noted as damage."""
    try:
        return decode(packet)
    except EOFError:
        return []
    except (av.FFmpegError, OSError, ValueError) as error:
        damage.note(f"{what} that cannot be decoded ({describe_error(error)})", reached_s, error)
        return []


class Demuxer:
    """Reader of the non-empty packets of a file, up to its end or to an unreadable part, which is noted as damage.

    The owner of the decoder flushes it after the last packet. PyAV's own flushing packets all claim stream 0, and an
    empty packet in the middle of a file would end decoding there.
    """

    def __init__(self, container: InputContainer, damage: Damage) -> None:
        self._container = container
        self._damage = damage
        self.end_s = Fraction(0)
        """Latest end of any packet so far, in any stream."""

    def iterate_packets(self, stream: Stream, reached_s: Callable[[], Fraction]) -> Iterator["Packet[Stream]"]:
        """Yield the packets of one stream; `reached_s` gives the time for reports of damage."""
        demuxed = self._container.demux()
        while True:
            try:
                packet = next(demuxed, None)
            except IndexError:  # PyAV fails at the very end of a file in which further streams appeared on the way
                return
            except (av.FFmpegError, OSError) as error:
                self._damage.note(f"an unreadable part ({describe_error(error)})", reached_s(), error)
                return
            if packet is None:
                return
            if not packet.size:
                continue
            if packet.pts is not None:
                self.end_s = max(self.end_s, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream_index == stream.index:
                yield packet

    def compute_missing_s(self, stream: Stream) -> Fraction | None:
        """Compute how much earlier the packets end than the header states; None if it states no overall duration."""
        name, stated = self._container.format.name, self._container.duration
        if "matroska" in name and stated:
            start = Fraction(self._container.start_time or 0, av.time_base)
            return Fraction(stated, av.time_base) - (self.end_s - min(start, Fraction(0)))
        if name == "avi" and stream.duration and stream.time_base:
            return stream.duration * stream.time_base - self.end_s
        return None
