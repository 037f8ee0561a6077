"""Conversion of decoded pictures to the working format: planar YUV, upright."""

from collections.abc import Callable
from typing import Any, cast

import av
import numpy as np
from av.sidedata.sidedata import Type

from cals.media.color import LAYOUTS, Plane, blend, get_color_space
from cals.media.frame import from_planes, get_plane_views
from cals.types import U8, Box, Patch

Turn = tuple[bool, bool, bool]
"""Whether to transpose, then to mirror left-right, then to mirror top-bottom."""

_HDR_KINDS = {
    "HDR10": {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"},
    "HDR10+": {"DYNAMIC_HDR_PLUS"},
    "HDR Vivid": {"DYNAMIC_HDR_VIVID"},
    "Dolby Vision": {"DOVI_METADATA", "DOVI_RPU_BUFFER"},
}

UPRIGHT: Turn = (False, False, False)
_BT709, _UNSPECIFIED = 1, 2
_LIMITED, _FULL = 1, 2
_STRIP_ROWS = 256


def choose_working_format(pix_fmt: str, *, keep_alpha: bool = False) -> str:
    """Choose the patchable pixel format nearest to `pix_fmt`: chroma kept or refined, more than 8 bits become 10.

    Alpha is kept only with `keep_alpha`: in others it carries nothing, and few encoders support it.
    """
    if pix_fmt in LAYOUTS and keep_alpha == pix_fmt.startswith("yuva"):
        return pix_fmt
    prefix = "yuva" if keep_alpha else "yuv"
    pix_format = av.VideoFormat(pix_fmt)
    depth = "10le" if max(part.bits for part in pix_format.components) > 8 else ""
    components = [part for part in pix_format.components if not part.is_alpha]
    if pix_format.is_rgb or len(components) < 3:
        return f"{prefix}420p{depth}"
    probe = av.VideoFormat(pix_fmt, 16, 16)
    across, down = 16 // probe.chroma_width(), 16 // probe.chroma_height()
    chroma = "420" if (across, down) in ((2, 2), (4, 1), (4, 4)) else "422" if (across, down) == (2, 1) else "444"
    return f"{prefix}{chroma}p{depth}"


def _make_nameless_kind(kinds: Any, value: int) -> Any:
    """Make an enum member for a kind of side data that PyAV does not know."""
    member = object.__new__(kinds)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


# PyAV 18 raises ValueError for *all* side data of a picture, its display matrix included, as soon as FFmpeg attaches a
# kind that is newer than PyAV's list (29: which eye a view is for; 31: EXIF); nothing else gives the whole matrix.
Type._missing_ = classmethod(_make_nameless_kind)  # type: ignore[method-assign,assignment]


def read_turn(picture: av.VideoFrame) -> Turn:
    """Read the quarter turn and mirroring that bring `picture` upright from its display matrix."""
    data = picture.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(memoryview(cast(Any, data)), dtype=np.int32)[:5].tolist()
    if max(abs(a), abs(d)) >= max(abs(b), abs(c)):
        return (False, a < 0, d < 0)
    return (True, c < 0, b < 0)


def list_hdr_kinds(picture: av.VideoFrame) -> tuple[str, ...]:
    """Return the common names of the HDR metadata of this picture, beyond its colour tags."""
    found = {data.type.name for data in cast(Any, picture.side_data)}
    return tuple(name for name, kinds in _HDR_KINDS.items() if found & kinds)


def has_transparency(picture: av.VideoFrame) -> bool:
    """Return whether a picture has transparent parts."""
    has_alpha = any(part.is_alpha for part in picture.format.components)
    return has_alpha and int(_reformat_without_matrix(picture, format="rgba").to_ndarray()[..., 3].min()) < 255


def _rotate(plane: Plane, turn: Turn) -> Plane:
    transpose, mirror_x, mirror_y = turn
    if transpose:
        plane = plane.T
    rotated: Plane = plane[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
    return rotated


def build_converter(first: av.VideoFrame) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """Build a function that converts every picture of a video to upright, in the format and size of `first`."""
    turn = read_turn(first)
    target = choose_working_format(first.format.name, keep_alpha=has_transparency(first))
    if turn[0] and "422" in target:
        # A quarter turn of 4:2:2 has its chroma subsampled along the other axis, a format that no encoder has.
        target = target.replace("422", "444")
    width, height = first.width, first.height

    def convert(picture: av.VideoFrame) -> av.VideoFrame:
        if picture.format.name != target or (picture.width, picture.height) != (width, height):
            picture = _reformat(picture, width, height, target)
        if any(plane.line_size < 0 for plane in picture.planes):
            picture = picture.reformat(format="rgb48le").reformat(format=target)
        if turn != UPRIGHT:
            planes = [_rotate(plane, turn) for plane in get_plane_views(picture)]
            return from_planes(planes, target, like=picture)
        return picture

    return convert


def _reformat(picture: av.VideoFrame, width: int, height: int, pix_fmt: str) -> av.VideoFrame:
    pix_format = picture.format
    samples = [part for part in pix_format.components if not part.is_alpha]
    if not pix_format.is_rgb and len(samples) == 3:
        return _reformat_without_matrix(picture, width=width, height=height, format=pix_fmt)
    # RGB, palette and grey have no YUV matrix of their own: use the common one, and set the tags accordingly.
    is_grey = not pix_format.is_rgb and not pix_format.has_palette
    if is_grey and int(picture.color_range) == _LIMITED:
        result = _add_grey_chroma(picture, width, height, pix_fmt)
    else:
        result = picture.reformat(
            width=width,
            height=height,
            format=pix_fmt,
            dst_colorspace=_BT709,
            src_color_range=_FULL,
            dst_color_range=_LIMITED,
        )
    result.colorspace, result.color_range = _BT709, _LIMITED
    return result


def _reformat_without_matrix(picture: av.VideoFrame, **target: Any) -> av.VideoFrame:
    """Reformat samples whatever their matrix; the result has the tags of `picture`.

    swscale refuses pictures whose tags it does not know (YCgCo, ICtCp, reserved numbers in damaged files), even where
    nothing depends on them.
    """
    tags = picture.colorspace, picture.color_range
    picture.colorspace = _UNSPECIFIED
    if int(picture.color_range) not in (_LIMITED, _FULL):
        picture.color_range = 0
    result = picture.reformat(**target)
    picture.colorspace, picture.color_range = tags
    result.colorspace, result.color_range = tags
    return result


def _add_grey_chroma(picture: av.VideoFrame, width: int, height: int, pix_fmt: str) -> av.VideoFrame:
    """Take grey samples unchanged as luma; swscale would assume full range, whatever their tag says."""
    bits = LAYOUTS[pix_fmt].bits
    grey = picture.reformat(width=width, height=height, format="gray" if bits == 8 else "gray10le")
    result = av.VideoFrame(width, height, pix_fmt)
    result.color_primaries, result.color_trc = picture.color_primaries, picture.color_trc
    luma, *chroma = get_plane_views(result)
    stored = np.frombuffer(memoryview(cast(Any, grey.planes[0])), luma.dtype)
    luma[...] = stored.reshape(height, -1)[:, :width]
    for plane in chroma:
        plane[...] = 1 << (bits - 1)
    return result


def from_rgb(rgb: U8) -> av.VideoFrame:
    """Convert RGB pixels [h w 3] to an 8-bit 4:2:0 picture in limited range BT.709."""
    height, width = rgb.shape[:2]
    picture = av.VideoFrame(width, height, "yuv420p")
    picture.colorspace, picture.color_range, picture.color_primaries = _BT709, _LIMITED, _BT709
    luma, blue, red = get_plane_views(picture)
    planes, space = (luma, blue, red), get_color_space("yuv420p", _BT709, _LIMITED, height)
    for plane, black in zip(planes, space.from_rgb[:, 3], strict=True):
        plane[...] = round(float(black))
    for top in range(0, height, _STRIP_ROWS):  # blending takes many times the memory of the pixels
        strip = Box(0, top, width, min(top + _STRIP_ROWS, height))
        part = rgb[strip.y0 : strip.y1]
        blend(planes, space, Patch(strip, part, np.ones(part.shape[:2], np.float32)))
    return picture
