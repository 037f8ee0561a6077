"""The duration of a sound file by its header, whatever it really holds."""

from fractions import Fraction
from pathlib import Path
from typing import Literal

from av.audio.stream import AudioStream

# Programs that write to a pipe do not know the size, and state one near the maximum.
_PLACEHOLDER_BYTES = 0x7FFF0000
_HEADER_FORMATS = ("flac", "aiff", "au", "wv", "tta")
"""FFmpeg's names of the formats whose demuxers report the header's duration, not one derived from the file size."""


def read_header_duration_s(path: Path, format_name: str, stream: AudioStream, found_s: Fraction) -> Fraction | None:
    """Return the header's duration where `found_s` seconds were decoded; None if it states nothing reliable."""
    if format_name in ("wav", "w64"):
        return found_s * _compute_wav_ratio(path)
    if format_name == "caf" and stream.codec_context.name.startswith("pcm_"):
        return Fraction(stream.frames, stream.rate)
    if format_name in _HEADER_FORMATS or (format_name == "mp3" and _has_mp3_frame_count(path)):
        return stream.duration * stream.time_base if stream.duration and stream.time_base else None
    return None


def _compute_wav_ratio(path: Path) -> Fraction:
    """Compute the header's size of the sound over the bytes present, for RIFF, RF64 and Wave64; 1 if they agree."""
    end = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        order: Literal["big", "little"] = "big" if magic == b"RIFX" else "little"
        is_wave64 = magic == b"riff"  # Wave64: ids of 16 bytes, sizes of 8 that include the chunk's header
        file.seek(40 if is_wave64 else 12)
        head_bytes, align, long_bytes = (24, 8, 0) if is_wave64 else (8, 2, 0)
        while len(head := file.read(head_bytes)) == head_bytes:
            size = max(
                0, int.from_bytes(head[16:] if is_wave64 else head[4:], order) - (head_bytes if is_wave64 else 0)
            )
            if head[:4] == b"data":
                size, available = long_bytes or size, end - file.tell()
                placeholder = size >= _PLACEHOLDER_BYTES and not (is_wave64 or long_bytes)
                return Fraction(1) if placeholder or available <= 0 else max(Fraction(1), Fraction(size, available))
            body = file.read(16) if head[:4] == b"ds64" else b""
            long_bytes = int.from_bytes(body[8:], order) or long_bytes
            file.seek(min(end, file.tell() + size + -size % align - len(body)))
    return Fraction(1)


def _has_mp3_frame_count(path: Path) -> bool:
    """Return whether the first frame of an MP3 holds the frame count; without it FFmpeg guesses by the bit rate."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            high, upper, lower, low = head[6:]
            file.seek(10 + (high << 21 | upper << 14 | lower << 7 | low))
        else:
            file.seek(0)
        first = file.read(256)
    return any(tag in first for tag in (b"Xing", b"Info", b"VBRI"))
