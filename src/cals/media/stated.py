"""How long a sound file is by its own header, whatever of it is really there."""

from fractions import Fraction
from pathlib import Path
from typing import Literal

from av.audio.stream import AudioStream

# Programs that write to a pipe cannot know the size, and put one near the largest there is.
_PLACEHOLDER_BYTES = 0x7FFF0000
_EXACT = ("flac", "aiff", "au", "wv", "tta")
"""FFmpeg's names of the formats whose demuxers give what the header says, and not what the file's size allows."""


def stated_s(path: Path, format_name: str, stream: AudioStream, found_s: Fraction) -> Fraction | None:
    """Seconds of sound that the header promises where `found_s` were found; None if it says nothing to be relied on."""
    if format_name in ("wav", "w64"):
        return found_s * _wav_excess(path)
    if format_name == "caf" and stream.codec_context.name.startswith("pcm_"):
        return Fraction(stream.frames, stream.rate)
    if format_name in _EXACT or (format_name == "mp3" and _counts_mp3_frames(path)):
        return stream.duration * stream.time_base if stream.duration and stream.time_base else None
    return None


def _wav_excess(path: Path) -> Fraction:
    """How many times the bytes of sound in a RIFF, RF64 or Wave64 file its header promises; 1 for an honest one."""
    end = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        order: Literal["big", "little"] = "big" if magic == b"RIFX" else "little"
        wide = magic == b"riff"  # Wave64: ids of 16 bytes, sizes of 8 that count the chunk's head too
        file.seek(40 if wide else 12)
        head_bytes, align, long_bytes = (24, 8, 0) if wide else (8, 2, 0)
        while len(head := file.read(head_bytes)) == head_bytes:
            size = max(0, int.from_bytes(head[16:] if wide else head[4:], order) - (head_bytes if wide else 0))
            if head[:4] == b"data":
                size, there = long_bytes or size, end - file.tell()
                placeholder = size >= _PLACEHOLDER_BYTES and not (wide or long_bytes)
                return Fraction(1) if placeholder or there <= 0 else max(Fraction(1), Fraction(size, there))
            body = file.read(16) if head[:4] == b"ds64" else b""
            long_bytes = int.from_bytes(body[8:], order) or long_bytes
            file.seek(min(end, file.tell() + size + -size % align - len(body)))
    return Fraction(1)


def _counts_mp3_frames(path: Path) -> bool:
    """Whether the first frame of an MP3 says how many follow; elsewhere FFmpeg guesses by the bit rate."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            high, upper, lower, low = head[6:]
            file.seek(10 + (high << 21 | upper << 14 | lower << 7 | low))
        else:
            file.seek(0)
        first = file.read(256)
    return any(tag in first for tag in (b"Xing", b"Info", b"VBRI"))
