"""H.264 as files hold it: units of a picture, and the parameter sets in the configuration record of a track.

Source: ISO/IEC 14496-10 annex B and 7.3, ISO/IEC 14496-15, 5.3.3.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

_START_CODE = re.compile(rb"\x00\x00\x01")
_IDR, _SPS, _PPS, _DELIMITER = 5, 7, 8, 9
_TYPE_MASK = 0x1F
_LENGTH_BYTES = 4
_MAX_SETS = 31
"""Most sequence parameter sets in a record, whose count has five bits; there may be more picture parameter sets."""
_HIGH_PROFILES = (100, 110, 122, 144)
_TAIL_8_BIT_420 = b"\xfd\xf8\xf8\x00"


@dataclass(frozen=True, kw_only=True)
class AvcConfig:
    """A configuration record (`avcC`): profile, level and parameter sets."""

    head: bytes
    """Version, profile, compatibility and level."""
    sequence_sets: tuple[bytes, ...]
    picture_sets: tuple[bytes, ...]
    tail: bytes
    """What follows in the high profiles: chroma format and bit depth."""

    @classmethod
    def parse(cls, record: bytes) -> "AvcConfig | None":
        """Parse a record; None if it is damaged, or units have other than four bytes for their length."""
        if len(record) < 7 or record[0] != 1 or record[4] & 3 != _LENGTH_BYTES - 1:
            return None
        groups, position = [], 5
        for mask in (_MAX_SETS, 0xFF):
            count, position = record[position] & mask, position + 1
            sets = []
            for _ in range(count):
                size = int.from_bytes(record[position : position + 2])
                sets.append(record[position + 2 : position + 2 + size])
                position += 2 + size
            groups.append(tuple(sets))
            if position > len(record) or (mask == _MAX_SETS and position == len(record)):
                return None
        return cls(head=record[:4], sequence_sets=groups[0], picture_sets=groups[1], tail=record[position:])

    @classmethod
    def from_units(cls, units: Sequence[bytes]) -> "AvcConfig":
        """Build a record from units with at least one sequence parameter set."""
        sequence_sets = tuple(unit for unit in units if unit[0] & _TYPE_MASK == _SPS)
        picture_sets = tuple(unit for unit in units if unit[0] & _TYPE_MASK == _PPS)
        head = b"\x01" + sequence_sets[0][1:4]
        return cls(head=head, sequence_sets=sequence_sets, picture_sets=picture_sets, tail=b"")

    def find_free_id(self) -> int | None:
        """Return the lowest number that no parameter set has; None if there is none below 32."""
        used = {_read_exp_golomb(unit[4:]) for unit in self.sequence_sets}
        used |= {_read_exp_golomb(unit[1:]) for unit in self.picture_sets}
        return next((number for number in range(_MAX_SETS + 1) if number not in used), None)

    def add(self, other: "AvcConfig") -> "AvcConfig":
        """Return the record for a track with pictures of both, of the higher profile and level."""
        higher = max(self.head[1:3], other.head[1:3])
        return replace(
            self,
            head=self.head[:1] + higher + bytes([max(self.head[3], other.head[3])]),
            sequence_sets=self.sequence_sets + other.sequence_sets,
            picture_sets=self.picture_sets + other.picture_sets,
            tail=self.tail or (_TAIL_8_BIT_420 if higher[0] in _HIGH_PROFILES else b""),
        )

    def serialize(self) -> bytes:
        """Return the record as bytes."""
        result = bytearray(self.head + bytes([0xFC | (_LENGTH_BYTES - 1), 0xE0 | len(self.sequence_sets)]))
        for sets in (self.sequence_sets, self.picture_sets):
            if sets is self.picture_sets:
                result.append(len(sets))
            for unit in sets:
                result += len(unit).to_bytes(2) + unit
        return bytes(result) + self.tail


def split_annex_b(data: bytes) -> list[bytes]:
    """Split a byte stream with start codes into its units."""
    starts = [match.end() for match in _START_CODE.finditer(data)]
    ends = [start - 3 for start in starts[1:]] + [len(data)]
    # A start code may have a zero before it, and a unit never ends with one.
    return [data[start:end].rstrip(b"\x00") for start, end in zip(starts, ends, strict=True)]


def join_units(units: Sequence[bytes]) -> bytes:
    """Join the units of a picture, each after its length; parameter sets and delimiters are left out."""
    kept = (unit for unit in units if unit and unit[0] & _TYPE_MASK not in (_SPS, _PPS, _DELIMITER))
    return b"".join(len(unit).to_bytes(_LENGTH_BYTES) + unit for unit in kept)


def is_idr(data: bytes) -> bool:
    """Return whether a picture, as units after their lengths, refers to no earlier one, nor do those after it."""
    return any(kind == _IDR for kind in _iterate_types(data))


def _iterate_types(data: bytes) -> Iterator[int]:
    position = 0
    while position + _LENGTH_BYTES < len(data):
        yield data[position + _LENGTH_BYTES] & _TYPE_MASK
        position += _LENGTH_BYTES + int.from_bytes(data[position : position + _LENGTH_BYTES])


def _read_exp_golomb(data: bytes) -> int:
    """Read an unsigned number in exponential Golomb code from the first bits."""
    bits = "".join(f"{byte:08b}" for byte in data[:8])
    zeros = bits.find("1")
    return int(bits[zeros : 2 * zeros + 1] or "1", 2) - 1
