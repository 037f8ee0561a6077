"""Pixels of one frame's face laid into another frame, at the frames' own resolution."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.inner_mouth import render_inner_mouth
from cals.face.landmarks import MOUTH_INNER, MOUTH_OUTER
from cals.face.paste import colour_offset
from cals.face.sampling import covered_box
from cals.types import F32, U8, Box, CropTransform, Patch, Picture, affine_apply, affine_inverse

FINEST = 4.0
"""Pixels kept for each pixel of a crop of 128: faces larger than 512 px are reduced to that."""
_KEPT = Box(4, 36, 124, 128)
"""The part of a crop of 128 whose pixels may be taken: the lower face with some room."""
_GAIN = (0.1, 4.0)
"""Least and most that pixels are made lighter to fit another frame's light."""
_LIFTED = (1.4, 1.8)
"""Light counts as lifted, from not at all to altogether, where the skin's contrast changes by this factor more or less
than its brightness; mouths and turns of the head change it by the first."""
_LIP_MARGIN_PX = 4
NOTHING = Patch(box=Box(0, 0, 0, 0), rgb=np.zeros((0, 0, 3), np.uint8), alpha=np.zeros((0, 0), np.float32))


@dataclass(frozen=True, eq=False)
class SourceFace:
    """The lower face of a frame, kept to take pixels from."""

    crop: U8 = field(repr=False)
    """[128 128 3], for what needs no detail."""
    pixels: U8 = field(repr=False)
    """[h w 3] of the frame, reduced where it is larger than needed."""
    matrix: NDArray[np.float64] = field(repr=False)
    """[2 3], from crop pixels to `pixels`."""

    @property
    def reduced(self) -> "SourceFace":
        """The same with no more detail than its crop."""
        return SourceFace(self.crop, self.crop, np.eye(2, 3))

    @property
    def bytes(self) -> int:
        return self.pixels.nbytes + self.crop.nbytes


def keep_source(picture: Picture, transform: CropTransform, crop: U8) -> SourceFace:
    """What of `picture` may be taken for other frames; `crop` is its aligned face [128 128 3]."""
    part = np.array(transform.matrix, dtype=np.float64)
    part[:, 2] -= (_KEPT.x0, _KEPT.y0)
    box = covered_box(part, _KEPT.width, _KEPT.height, margin_px=2).clipped(picture.width, picture.height)
    if not box.width or not box.height:  # a face beyond the frame's edge
        return SourceFace(crop, crop, np.eye(2, 3))
    pixels = picture.rgb(box)
    reduce = min(1.0, FINEST * transform.scale)
    size = (max(1, round(box.width * reduce)), max(1, round(box.height * reduce)))
    if reduce < 1:
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    matrix = affine_inverse(transform.matrix)
    matrix[:, 2] -= (box.x0, box.y0)
    matrix *= np.array([[size[0] / box.width], [size[1] / box.height]])
    return SourceFace(crop, np.ascontiguousarray(pixels), matrix)


def transfer(
    picture: Picture,
    transform: CropTransform,
    crop: U8,
    mask: F32,
    lips: NDArray[Any],
    parts: Sequence[tuple[SourceFace, F32, float]],
    strength: float = 1.0,
    inner: tuple[NDArray[Any], float] | None = None,
) -> Patch:
    """The face of `picture` with pixels of other faces where `mask` [128 128] says, as a patch of the smallest box.

    Each of `parts` is a face, the places [128 128 2] in its crop that belong at the pixels of this crop, and its share;
    shares add up to 1. Its light is brought to that of `crop` [128 128 3]. `lips` are landmarks [n 2] that neither
    light nor colour is compared within. `strength` 0..1 scales the mask. `inner`, landmarks [468 2+] and a share, has
    an inner mouth drawn where the parts show none.
    """
    box, to_box = _box_of(picture, transform, mask)
    if strength <= 0 or not box.width or not box.height:
        return NOTHING
    centres, here = _centres(np.eye(2, 3), mask.shape), _centres(affine_inverse(to_box), (box.height, box.width))
    skin = mask * (1 - _lip_area(lips, mask.shape))
    rgb = np.zeros((box.height, box.width, 3), np.float32)
    for source, places, share in parts:
        moved = _read(source.crop, places).astype(np.float32)
        gain, lift = _light(crop, moved, skin)
        offset = lift + colour_offset(crop.astype(np.float32), moved * gain + lift, mask)
        # cv2 rounds places to 1/32 of a pixel: how far pixels move is smooth enough for that, where they are is not.
        there = _warp(np.dstack([places - centres, offset]), to_box, box)
        matrix = source.matrix
        at = (here + there[..., :2]) @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32)
        rgb += np.float32(share) * (_read(source.pixels, at).astype(np.float32) * gain + there[..., 2:])
    if inner is not None and inner[1] > 0:
        _draw_inner(rgb, to_box, inner[0], inner[1], _brightness(crop, skin))
    alpha = np.clip(_warp(mask, to_box, box), 0, 1) * np.float32(min(strength, 1.0))
    return Patch(box=box, rgb=np.rint(np.clip(rgb, 0, 255)).astype(np.uint8), alpha=alpha.astype(np.float32))


def _box_of(picture: Picture, transform: CropTransform, mask: F32) -> tuple[Box, NDArray[np.float64]]:
    """The part of the frame that the mask covers, and the matrix [2 3] from crop pixels to it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return Box(0, 0, 0, 0), np.eye(2, 3)
    x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    part = np.array(transform.matrix, dtype=np.float64)
    part[:, 2] -= (x0, y0)
    box = covered_box(part, x1 - x0, y1 - y0, margin_px=0).clipped(picture.width, picture.height)
    to_box = affine_inverse(transform.matrix)
    to_box[:, 2] -= (box.x0, box.y0)
    return box, to_box


def _centres(matrix: NDArray[np.float64], shape: tuple[int, ...]) -> F32:
    """Centres of the pixels of a picture [h w], mapped by an affine matrix, [h w 2]."""
    grid = np.stack(np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5), axis=-1)
    return affine_apply(matrix, grid.reshape(-1, 2)).reshape(grid.shape).astype(np.float32)


def _warp(image: NDArray[Any], matrix: NDArray[np.float64], box: Box) -> F32:
    """What is smooth in the crop at every pixel of the box, bilinear."""
    centred = np.array(matrix)
    centred[:, 2] += centred[:, :2] @ (0.5, 0.5) - 0.5  # cv2 puts pixel centres at whole numbers
    size = (box.width, box.height)
    warped = cv2.warpAffine(image, centred, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.float32)


def _read(image: U8, places: NDArray[Any]) -> U8:
    """Pixels of `image` at places [h w 2], bicubic; beyond its edge the edge goes on."""
    x, y = (np.ascontiguousarray(places[..., i] - 0.5, dtype=np.float32) for i in (0, 1))
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def _draw_inner(rgb: F32, to_box: NDArray[np.float64], landmarks: NDArray[Any], share: float, light: float) -> None:
    """Draw an inner mouth into `rgb` [h w 3], at its own resolution."""
    lips = affine_apply(to_box, landmarks[list(MOUTH_INNER), :2].astype(np.float64))
    low, high = np.floor(lips.min(axis=0)).astype(int), np.ceil(lips.max(axis=0)).astype(int) + 1
    x0, y0, x1, y1 = Box(*low, *high).clipped(rgb.shape[1], rgb.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    grid = np.stack(np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5), axis=-1)
    places = affine_apply(affine_inverse(to_box), grid.reshape(-1, 2)).reshape(grid.shape)
    colours, cover = render_inner_mouth(places, landmarks, light)
    part = rgb[y0:y1, x0:x1]
    part += (share * cover)[..., None] * (colours - part)


def _brightness(crop: U8, skin: F32) -> float:
    """Mean brightness of the skin, 0..1."""
    return float(np.einsum("hwc,hw->", crop.astype(np.float32), skin) / max(float(skin.sum()), 1e-6) / (3 * 255))


def _light(crop: U8, moved: F32, skin: F32) -> tuple[F32, F32]:
    """Gain and lift by colour, [3] each, that make the skin of `moved` as light as the crop's: gain * moved + lift.

    Lamps and exposure scale light, which a gain alone follows. Flashes, fog and dissolves lift it too: the skin's
    contrast then changes by another factor than its brightness.
    """
    shares = skin / max(float(skin.sum()), 1e-6)
    (wanted, wanted_contrast), (found, found_contrast) = (
        _mean_and_contrast(picture.astype(np.float32), shares) for picture in (crop, moved)
    )
    scale = (wanted + 1) / (found + 1)
    flatness = (wanted_contrast + 1) / (found_contrast + 1) / float(scale.mean())
    trust = np.interp(abs(np.log(flatness)), np.log(_LIFTED), (0, 1))
    scale = np.clip(scale * flatness**trust, *_GAIN)
    lift = trust * (wanted - scale * found)
    return scale.astype(np.float32), lift.astype(np.float32)


def _mean_and_contrast(picture: F32, shares: F32) -> tuple[NDArray[np.float64], float]:
    """Mean colour [3] and spread of the brightness, where `shares` [h w] says."""
    mean = np.einsum("hwc,hw->c", picture, shares).astype(np.float64)
    grey = picture.mean(axis=2)
    return mean, float(np.sqrt(np.einsum("hw,hw->", (grey - float(mean.mean())) ** 2, shares)))


def _lip_area(lips: NDArray[Any], shape: tuple[int, ...]) -> F32:
    canvas = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(canvas, cv2.convexHull(np.rint(lips - 0.5).astype(np.int32)), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _LIP_MARGIN_PX + 1,) * 2)
    return np.asarray(cv2.dilate(canvas, disc), dtype=np.float32)


def outer_lips(*landmarks: NDArray[Any]) -> NDArray[Any]:
    """Outer lip points [n 2] of several faces [468 2+] at once, for `transfer`."""
    return np.concatenate([points[list(MOUTH_OUTER), :2] for points in landmarks])
