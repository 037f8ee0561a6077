"""Pictures as decoded to pictures the rest works on: a planar YUV format, upright."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from cals.errors import MediaError
from cals.media.color import LAYOUTS, Plane, blend, color_space
from cals.media.frame import from_planes, plane_views
from cals.types import U8, Box, Patch

log = logging.getLogger(__name__)

Turn = tuple[bool, bool, bool]
"""Transpose, then mirror left-right, then mirror top-bottom."""

_HDR_KINDS = {
    "HDR10": {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"},
    "HDR10+": {"DYNAMIC_HDR_PLUS"},
    "HDR Vivid": {"DYNAMIC_HDR_VIVID"},
    "Dolby Vision": {"DOVI_METADATA", "DOVI_RPU_BUFFER"},
}

UPRIGHT: Turn = (False, False, False)
_BT709 = 1
_LIMITED, _FULL = 1, 2


def working_format(pix_fmt: str) -> str:
    """The patchable pixel format nearest to `pix_fmt`: chroma kept or refined, more than 8 bits become 10."""
    if pix_fmt in LAYOUTS:
        return pix_fmt
    described = av.VideoFormat(pix_fmt)
    depth = "10le" if max(part.bits for part in described.components) > 8 else ""
    components = [part for part in described.components if not part.is_alpha]
    if described.is_rgb or len(components) < 3:
        return f"yuv420p{depth}"
    probe = av.VideoFormat(pix_fmt, 16, 16)
    across, down = 16 // probe.chroma_width(), 16 // probe.chroma_height()
    chroma = "420" if (across, down) in ((2, 2), (4, 1), (4, 4)) else "422" if (across, down) == (2, 1) else "444"
    return f"yuv{chroma}p{depth}"


def _unnamed_kind(kinds: Any, value: int) -> Any:
    """A stand-in for a kind of side data that PyAV has no name for."""
    made = object.__new__(kinds)
    made._name_, made._value_ = f"UNNAMED_{value}", value
    return made


# PyAV 18 raises ValueError for *all* side data of a picture, its display matrix included, as soon as FFmpeg attaches a
# kind that is newer than PyAV's list (29: which eye a view is for; 31: EXIF); nothing else gives the whole matrix.
Type._missing_ = classmethod(_unnamed_kind)  # type: ignore[method-assign,assignment]


def turn_of(picture: av.VideoFrame) -> Turn:
    """The quarter turn and mirroring that bring `picture` upright, from its display matrix."""
    data = picture.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(memoryview(cast(Any, data)), dtype=np.int32)[:5].tolist()
    if max(abs(a), abs(d)) >= max(abs(b), abs(c)):
        return (False, a < 0, d < 0)
    return (True, c < 0, b < 0)


def hdr_kinds(picture: av.VideoFrame) -> tuple[str, ...]:
    """What tells a display how to show this picture beyond its colour tags, by the names people know."""
    found = {data.type.name for data in cast(Any, picture.side_data)}
    return tuple(name for name, kinds in _HDR_KINDS.items() if found & kinds)


def _turned(plane: Plane, turn: Turn) -> Plane:
    transpose, mirror_x, mirror_y = turn
    if transpose:
        plane = plane.T
    turned: Plane = plane[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
    return turned


def converter(first: av.VideoFrame) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """A function that makes every picture of a video upright, in the format and size that `first` gets."""
    turn = turn_of(first)
    target = working_format(first.format.name)
    if turn[0] and target.startswith(("yuv422p", "yuvj422p")):
        # A quarter turn of 4:2:2 has its chroma thinned along the other axis, a format nobody encodes.
        target = target.replace("422", "444")
    width, height = first.width, first.height

    def convert(picture: av.VideoFrame) -> av.VideoFrame:
        if picture.format.name != target or (picture.width, picture.height) != (width, height):
            picture = _reformatted(picture, width, height, target)
        if any(plane.line_size < 0 for plane in picture.planes):
            picture = picture.reformat(format="rgb48le").reformat(format=target)
        if turn != UPRIGHT:
            planes = [_turned(plane, turn) for plane in plane_views(picture)]
            return from_planes(planes, target, like=picture)
        return picture

    return convert


def _reformatted(picture: av.VideoFrame, width: int, height: int, pix_fmt: str) -> av.VideoFrame:
    described = picture.format
    samples = [part for part in described.components if not part.is_alpha]
    if not described.is_rgb and len(samples) == 3:
        return picture.reformat(width=width, height=height, format=pix_fmt)
    # RGB, palette and grey carry no YUV matrix of their own: give them the common one, and say so in the tags.
    is_grey = not described.is_rgb and not described.has_palette
    if is_grey and int(picture.color_range) == _LIMITED:
        made = _with_grey_chroma(picture, width, height, pix_fmt)
    else:
        made = picture.reformat(
            width=width,
            height=height,
            format=pix_fmt,
            dst_colorspace=_BT709,
            src_color_range=_FULL,
            dst_color_range=_LIMITED,
        )
    made.colorspace, made.color_range = _BT709, _LIMITED
    return made


def _with_grey_chroma(picture: av.VideoFrame, width: int, height: int, pix_fmt: str) -> av.VideoFrame:
    """Grey samples as they are, now the luma; swscale would take them for full range, whatever their tag says."""
    bits = LAYOUTS[pix_fmt].bits
    grey = picture.reformat(width=width, height=height, format="gray" if bits == 8 else "gray10le")
    made = av.VideoFrame(width, height, pix_fmt)
    made.color_primaries, made.color_trc = picture.color_primaries, picture.color_trc
    luma, *chroma = plane_views(made)
    stored = np.frombuffer(memoryview(cast(Any, grey.planes[0])), luma.dtype)
    luma[...] = stored.reshape(height, -1)[:, :width]
    for plane in chroma:
        plane[...] = 1 << (bits - 1)
    return made


def from_rgb(rgb: U8) -> av.VideoFrame:
    """An 8-bit 4:2:0 picture in limited range BT.709 of RGB pixels [h w 3]."""
    height, width = rgb.shape[:2]
    picture = av.VideoFrame(width, height, "yuv420p")
    picture.colorspace, picture.color_range, picture.color_primaries = _BT709, _LIMITED, _BT709
    planes, space = plane_views(picture), color_space("yuv420p", _BT709, _LIMITED, height)
    for plane, black in zip(planes, space.from_rgb[:, 3], strict=True):
        plane[...] = round(float(black))
    blend(planes, space, Patch(Box(0, 0, width, height), rgb, np.ones((height, width), np.float32)))
    return picture


_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*")
_MOTION_SUFFIXES = (".mjpeg", ".mjpg")
# The chunk that makes a PNG move stands among the first ones, the flag that makes a WebP move in the first.
_HEAD_BYTES = 4096
_WEBP_MOVES = 0x02
# In compressed data 0xff is followed by 0; the bare markers have no length behind them.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_JPEG_END = 0xD9
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}


def is_image(path: Path) -> bool:
    """Whether the file is a still image (PNG, JPEG, BMP, TIFF, WebP) by its first bytes; an animated PNG is a video."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if path.suffix.lower() in _MOTION_SUFFIXES or (head.startswith(_SIGNATURES[0]) and b"acTL" in head):
        return False
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def read_image(path: Path, keep_going: bool = False) -> U8:
    """RGB pixels [h w 3] of a still image: upright by its EXIF tag, 8 bits, alpha over white."""
    data = path.read_bytes()
    cut_short = _is_cut_short(data)
    if cut_short and not keep_going:
        raise MediaError(f"{path}: expected a whole image, found one cut short; copy it again, or use --keep-going")
    if data[12:16] == b"VP8X" and data[20] & _WEBP_MOVES:
        log.warning("%s: animated WebP cannot be played here; using its first picture", path)
    pixels = np.frombuffer(data, np.uint8)
    try:
        stored = cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED)
        if stored is not None and stored.ndim == 3 and stored.shape[2] == 4:
            return _over_white(stored)
        decoded = cv2.imdecode(pixels, cv2.IMREAD_COLOR)  # this one obeys EXIF and reduces 16 bits to 8
    except cv2.error as error:
        raise MediaError(f"{path}: expected an image OpenCV can decode, found {error.err or error}") from error
    if decoded is None:
        raise MediaError(f"{path}: expected an image, found data that cannot be decoded; convert it to PNG")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _is_cut_short(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:] and b"IEND" not in data
    return data.startswith(b"\xff\xd8") and not _has_jpeg_end(data)


def _has_jpeg_end(data: bytes) -> bool:
    """Whether the first picture of a JPEG file is whole; thumbnails inside it and films behind it do not count."""
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        marker, at = found[0][1], found.end()
        if marker == _JPEG_END:
            return True
        if marker not in _JPEG_BARE:
            at += int.from_bytes(data[at : at + 2], "big")
    return False


def _over_white(bgra: NDArray[Any]) -> U8:
    top = float(np.iinfo(bgra.dtype).max) if bgra.dtype.kind == "u" else 1.0
    color, alpha = bgra[..., 2::-1].astype(np.float32), bgra[..., 3:].astype(np.float32)
    mixed = (color * (alpha / top) + (top - alpha)) * (255.0 / top)
    rounded: U8 = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return rounded
