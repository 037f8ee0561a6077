"""Still image files: telling them from videos, and their pixels, upright and no larger than needed."""

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
from cals.media.exif import orientation_of, upright
from cals.media.opening import open_input
from cals.types import U8

log = logging.getLogger(__name__)

DEFAULT_SIZE_PX = 4096
"""Longest side that a photo keeps unless more is asked for."""
_SIZES_PX = (16, 16384)

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_SIGNATURES = (_PNG, _JPEG, b"BM", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cjP  ")
_MOTION_SUFFIXES = (".mjpeg", ".mjpg")
# The chunk that makes a PNG move stands among the first ones, the flag that makes a WebP move in the first.
_HEAD_BYTES = 4096
_WEBP_MOVES = 0x02
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis")
_STILL_BRANDS = (b"avif", b"mif1", b"mif2", b"miaf", *_HEIC_BRANDS)  # avis, msf1 and hevc are sequences

_STRIP_ROWS = 256
_NOISE = re.compile(
    r"libpng |\[ *(WARN|ERROR|INFO):|TIFF|Corrupt JPEG|Premature end|Invalid SOS|Inconsistent prog|Unknown Adobe|"
    r"Warning: unknown JFIF|Unsupported marker"
)
_HARM = re.compile(r"Corrupt JPEG data: .*|Premature end of JPEG file|libpng error: .*")


class Photo(NamedTuple):
    """RGB pixels [h w 3], and what a user should be told of them."""

    rgb: U8
    notes: list[str]


def is_image(path: Path) -> bool:
    """Whether the file is a still image by its first bytes: PNG, JPEG, BMP, TIFF, WebP, GIF, JPEG 2000, AVIF or HEIC.

    A PNG, GIF, AVIF or HEIC with several pictures to be shown one after another is a video.
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
        return False  # for the reader of videos to say what is wrong


def read_photo(path: Path, *, keep_going: bool = False, size: int | None = None) -> Photo:
    """A still image: upright, 8 bits, alpha over white, at most `size` px (None: 4096) on the longer side."""
    size = DEFAULT_SIZE_PX if size is None else size
    if not _SIZES_PX[0] <= size <= _SIZES_PX[1]:
        raise ConfigError(f"size: expected {_SIZES_PX[0]} to {_SIZES_PX[1]} px, found {size}")
    data = path.read_bytes()
    if _is_cut_short(data) and not keep_going:
        raise MediaError(f"{path}: expected a whole image, found one cut short; copy it again, or use --keep-going")
    notes = []
    if data[12:16] == b"VP8X" and data[20] & _WEBP_MOVES:
        notes.append("an animated WebP cannot be played here: its first picture is used")
    stored, harm = _heic(path, data) if _is_heic(data) else _decoded(path, data)
    if harm:
        notes.append(f"the image is damaged ({harm}): what can be read of it is used")
    height, width = stored.shape[:2]
    rgb = _over_white(stored) if stored.shape[2] == 4 else stored[..., :3]
    if max(width, height) > size:
        small = [max(1, round(side * size / max(width, height))) for side in (width, height)]
        rgb = np.asarray(cv2.resize(rgb, small, interpolation=cv2.INTER_AREA), np.uint8)
        notes.append(f"{width}x{height} px become {small[0]}x{small[1]}: --size {max(width, height)} would keep them")
    return Photo(np.ascontiguousarray(rgb), notes)


def _decoded(path: Path, data: bytes) -> tuple[NDArray[Any], str]:
    """RGB, 8 bits, or RGBA, as deep as it is stored, both upright; and what the decoder complained about."""
    pixels = np.frombuffer(data, np.uint8)
    try:
        with _taken_noise() as noise:
            stored = cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED)
            if stored is not None and (stored.ndim != 3 or stored.shape[2] != 4):
                # This way reduces 16 bits to 8 and grey to colour; EXIF is obeyed below, for all formats alike.
                stored = cv2.imdecode(pixels, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise MediaError(f"{path}: expected an image OpenCV can decode, found {error.err or error}") from error
    if stored is None:
        raise MediaError(f"{path}: expected an image, found data that cannot be decoded; convert it to PNG")
    stored = cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA if stored.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return upright(stored, orientation_of(data)), next(iter(noise), "")


def _is_heic(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : max(12, min(int.from_bytes(data[:4], "big"), 256))]
    return any(brand in brands for brand in _HEIC_BRANDS) and b"avif" not in brands


def _heic(path: Path, data: bytes) -> tuple[NDArray[Any], str]:
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


def _is_cut_short(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:] and b"IEND" not in data
    return data.startswith(_JPEG) and not _has_jpeg_end(data)


_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


def _has_jpeg_end(data: bytes) -> bool:
    """Whether the end marker of the picture itself is there; phones put previews before it, and videos behind it."""
    at = 2
    while marker := _JPEG_MARKER.search(data, at):
        at = marker.end()
        if data[at - 1] == 0xD9:
            return True
        at += int.from_bytes(data[at : at + 2], "big")
    return False


def _over_white(rgba: NDArray[Any]) -> U8:
    """RGB of `rgba` laid over white; in strips, which a photo of many megapixels has room for in memory."""
    top = float(np.iinfo(rgba.dtype).max) if rgba.dtype.kind == "u" else 1.0
    rgb = np.empty((*rgba.shape[:2], 3), np.uint8)
    for start in range(0, rgba.shape[0], _STRIP_ROWS):
        strip = rgba[start : start + _STRIP_ROWS].astype(np.float32)
        mixed = (strip[..., :3] * (strip[..., 3:] / top) + (top - strip[..., 3:])) * (255.0 / top)
        rgb[start : start + _STRIP_ROWS] = np.clip(np.rint(mixed), 0, 255)
    return rgb


_stderr = threading.Lock()


@contextmanager
def _taken_noise() -> Iterator[list[str]]:
    """Keep what C libraries write to stderr off it; the list then holds what tells of damage.

    They know no other way. Lines of other threads are put back.
    """
    harm: list[str] = []
    with _stderr, tempfile.TemporaryFile() as taken:
        try:
            saved = os.dup(2)
        except OSError:  # no stderr at all
            yield harm
            return
        os.dup2(taken.fileno(), 2)
        try:
            yield harm
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            taken.seek(0)
            for line in taken.read().decode(errors="replace").splitlines(keepends=True):
                if _NOISE.search(line) is None:
                    os.write(2, line.encode())
            taken.seek(0)
            harm += _HARM.findall(taken.read().decode(errors="replace"))
