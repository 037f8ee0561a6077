"""Still image files: detection, and decoding to upright pixels of limited size."""

import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from cals.errors import ConfigError, MediaError
from cals.media.exif import apply_orientation, read_orientation
from cals.media.opening import open_input
from cals.types import U8

log = logging.getLogger(__name__)

DEFAULT_SIZE_PX = 4096
"""Default limit of a photo's longer side."""
_SIZE_RANGE_PX = (16, 16384)

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_SIGNATURES = (_PNG, _JPEG, b"BM", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cjP  ")
_MOTION_SUFFIXES = (".mjpeg", ".mjpg")
# The chunk of an animated PNG is among the first ones, the flag of an animated WebP in the first.
_HEAD_BYTES = 4096
_WEBP_ANIMATION_FLAG = 0x02
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis")
_STILL_BRANDS = (b"avif", b"mif1", b"mif2", b"miaf", *_HEIC_BRANDS)  # avis, msf1 and hevc are sequences

_STRIP_ROWS = 256
_LIBRARY_MESSAGE = re.compile(
    r"libpng |\[ *(WARN|ERROR|INFO):|TIFF|Corrupt JPEG|Premature end|Invalid SOS|Inconsistent prog|Unknown Adobe|"
    r"Warning: unknown JFIF|Unsupported marker"
)
_DAMAGE_MESSAGE = re.compile(r"Corrupt JPEG data: .*|Premature end of JPEG file|libpng error: .*")


class Photo(NamedTuple):
    """RGB pixels [h w 3], and notes for the user."""

    rgb: U8
    notes: list[str]


def is_image(path: Path) -> bool:
    """Return whether the first bytes are those of a still image.

    PNG, JPEG, BMP, TIFF, WebP, GIF, JPEG 2000, AVIF and HEIC are known. An animated PNG, GIF, AVIF or HEIC is a video.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if path.suffix.lower() in _MOTION_SUFFIXES:
        return False
    if head.startswith((b"GIF87a", b"GIF89a")) or (head.startswith(_PNG) and b"acTL" in head):
        return _has_one_picture(path)
    return head.startswith(_SIGNATURES) or _is_webp(head) or (head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS)


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _has_one_picture(path: Path) -> bool:
    try:
        with open_input(path) as container:
            return sum(packet.size > 0 for packet in islice(container.demux(), 2)) == 1
    except (av.FFmpegError, MediaError):
        return False  # the video reader reports what is wrong


def read_photo(path: Path, *, keep_going: bool = False, size: int | None = None) -> Photo:
    """Read a still image: upright, 8 bits, alpha over white, at most `size` px (None: 4096) on the longer side."""
    size = DEFAULT_SIZE_PX if size is None else size
    if not _SIZE_RANGE_PX[0] <= size <= _SIZE_RANGE_PX[1]:
        raise ConfigError(f"size: expected {_SIZE_RANGE_PX[0]} to {_SIZE_RANGE_PX[1]} px, found {size}")
    data = path.read_bytes()
    if _is_truncated(data) and not keep_going:
        raise MediaError(f"{path}: expected a whole image, found one cut short; copy it again, or use --keep-going")
    notes = []
    if data[12:16] == b"VP8X" and data[20] & _WEBP_ANIMATION_FLAG:
        notes.append("an animated WebP cannot be played here: its first picture is used")
    stored, damage = _decode_heic(path, data) if _is_heic(data) else _decode(path, data)
    if damage:
        notes.append(f"the image is damaged ({damage}): what can be read of it is used")
    height, width = stored.shape[:2]
    rgb = _composite_over_white(stored) if stored.shape[2] == 4 else stored[..., :3]
    if max(width, height) > size:
        new_size = [max(1, round(side * size / max(width, height))) for side in (width, height)]
        rgb = np.asarray(cv2.resize(rgb, new_size, interpolation=cv2.INTER_AREA), np.uint8)
        notes.append(
            f"{width}x{height} px become {new_size[0]}x{new_size[1]}: --size {max(width, height)} would keep them"
        )
    return Photo(np.ascontiguousarray(rgb), notes)


def _decode(path: Path, data: bytes) -> tuple[NDArray[Any], str]:
    """Decode to upright RGB of 8 bits or RGBA of the stored depth; and the decoder's first message of damage."""
    pixels = np.frombuffer(data, np.uint8)
    try:
        with _capture_stderr() as damage:
            stored = cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED)
            if stored is not None and (stored.ndim != 3 or stored.shape[2] != 4):
                # This flag reduces 16 bits to 8 and turns grey to colour; EXIF is applied below, for all formats alike.
                stored = cv2.imdecode(pixels, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise MediaError(f"{path}: expected an image OpenCV can decode, found {error.err or error}") from error
    if stored is None:
        raise MediaError(f"{path}: expected an image, found data that cannot be decoded; convert it to PNG")
    stored = cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA if stored.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return apply_orientation(stored, read_orientation(data)), next(iter(damage), "")


def _is_heic(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : max(12, min(int.from_bytes(data[:4], "big"), 256))]
    return any(brand in brands for brand in _HEIC_BRANDS) and b"avif" not in brands


def _decode_heic(path: Path, data: bytes) -> tuple[NDArray[Any], str]:
    try:
        import pillow_heif
    except ImportError as error:
        raise MediaError(
            f"{path}: expected a JPEG or PNG, found HEIC; export it as JPEG, or run `pip install pillow-heif`"
        ) from error
    try:
        image = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
        stored = np.asarray(image)
    except (ValueError, RuntimeError, OSError, EOFError) as error:
        raise MediaError(f"{path}: expected a whole HEIC image, found {error}; export it as JPEG") from error
    return (np.repeat(stored[..., None], 3, axis=2) if stored.ndim == 2 else stored), ""


def _is_truncated(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:] and b"IEND" not in data
    return data.startswith(_JPEG) and not _has_jpeg_end(data)


_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


def _has_jpeg_end(data: bytes) -> bool:
    """Return whether the picture has its end marker; phones store previews before it and videos after it."""
    position = 2
    while marker := _JPEG_MARKER.search(data, position):
        position = marker.end()
        if data[position - 1] == 0xD9:
            return True
        position += int.from_bytes(data[position : position + 2], "big")
    return False


def _composite_over_white(rgba: NDArray[Any]) -> U8:
    """Composite `rgba` over white to RGB; in strips, to limit memory for photos of many megapixels."""
    top = float(np.iinfo(rgba.dtype).max) if rgba.dtype.kind == "u" else 1.0
    rgb = np.empty((*rgba.shape[:2], 3), np.uint8)
    for start in range(0, rgba.shape[0], _STRIP_ROWS):
        strip = rgba[start : start + _STRIP_ROWS].astype(np.float32)
        composited = (strip[..., :3] * (strip[..., 3:] / top) + (top - strip[..., 3:])) * (255.0 / top)
        rgb[start : start + _STRIP_ROWS] = np.clip(np.rint(composited), 0, 255)
    return rgb


_stderr_lock = threading.Lock()


@contextmanager
def _capture_stderr() -> Iterator[list[str]]:
    """Capture what C libraries write to stderr; afterwards the list holds their messages of damage.

    They report damage in no other way. Lines of other threads are written to stderr again.
    """
    damage: list[str] = []
    with _stderr_lock, tempfile.TemporaryFile() as captured:
        try:
            saved = os.dup(2)
        except OSError:  # no stderr at all
            yield damage
            return
        os.dup2(captured.fileno(), 2)
        try:
            yield damage
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            captured.seek(0)
            for line in captured.read().decode(errors="replace").splitlines(keepends=True):
                if _LIBRARY_MESSAGE.search(line) is None:
                    os.write(2, line.encode())
            captured.seek(0)
            damage += _DAMAGE_MESSAGE.findall(captured.read().decode(errors="replace"))
