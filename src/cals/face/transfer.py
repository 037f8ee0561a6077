"""Transfer of the pixels of one frame's face into another frame, at the resolution of the frames."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.inner_mouth import render_inner_mouth
from cals.face.landmarks import MOUTH_INNER, MOUTH_OUTER
from cals.face.paste import estimate_colour_offset
from cals.face.picture import ArrayPicture
from cals.face.sampling import average_colours, compute_source_box, map_pixel_centres, sample_sharp, sample_smooth
from cals.types import F32, U8, Box, CropTransform, Patch, Picture, PixelSource, apply_affine, invert_affine

MAX_SOURCE_SCALE = 4.0
"""Most source pixels per pixel of a crop of 128: faces larger than 512 px are reduced to that."""
_SOURCE_BOX = Box(4, 36, 124, 128)
"""The part of a crop of 128 whose pixels are stored: the lower face with some margin."""
_GAIN_RANGE = (0.1, 4.0)
"""Least and largest gain to match the light of another frame."""
_LIFT_RANGE = (1.4, 1.8)
"""Ratio of the changes of the skin's contrast and brightness from which on lift starts to count, and at which it counts
fully. Mouth and head motion alone reach the first."""
_LIP_MARGIN_PX = 4
EMPTY_PATCH = Patch(box=Box(0, 0, 0, 0), rgb=np.zeros((0, 0, 3), np.uint8), alpha=np.zeros((0, 0), np.float32))


@dataclass(frozen=True, eq=False)
class SourceFace:
    """The lower face of a frame, a source of pixels."""

    crop: U8 = field(repr=False)
    """[128 128 3], where no detail is needed."""
    part: PixelSource = field(repr=False)
    """The part of the frame, reduced where it is larger than needed."""
    matrix: NDArray[np.float64] = field(repr=False)
    """[2 3], from crop pixels to those of `part`."""

    @property
    def pixels(self) -> U8:
        """[h w 3], RGB."""
        return self.part.rgb()

    @property
    def at_crop_resolution(self) -> "SourceFace":
        """The same face at the resolution of its crop."""
        return SourceFace(self.crop, ArrayPicture(self.crop), np.eye(2, 3))

    @property
    def nbytes(self) -> int:
        return self.part.nbytes + self.crop.nbytes


def build_source_face(picture: Picture, transform: CropTransform, crop: U8) -> SourceFace:
    """Build the source face of `picture` for other frames; `crop` is its aligned face [128 128 3]."""
    to_part = np.array(transform.matrix, dtype=np.float64)
    to_part[:, 2] -= (_SOURCE_BOX.x0, _SOURCE_BOX.y0)
    box = compute_source_box(to_part, _SOURCE_BOX.width, _SOURCE_BOX.height, margin_px=2).clip(
        picture.width, picture.height
    )
    if not box.width or not box.height:  # a face outside the frame
        return SourceFace(crop, ArrayPicture(crop), np.eye(2, 3))
    scale = min(1.0, MAX_SOURCE_SCALE * transform.scale)
    size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
    part = picture.cut(box) if scale == 1 else ArrayPicture(_reduce(picture.rgb(box), size))
    matrix = invert_affine(transform.matrix)
    matrix[:, 2] -= (box.x0, box.y0)
    matrix *= np.array([[size[0] / box.width], [size[1] / box.height]])
    return SourceFace(crop, part, matrix)


def _reduce(pixels: U8, size: tuple[int, int]) -> U8:
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def transfer_pixels(
    picture: Picture,
    transform: CropTransform,
    crop: U8,
    mask: F32,
    lips: NDArray[Any],
    parts: Sequence[tuple[SourceFace, F32, float | F32]],
    strength: float = 1.0,
    inner: tuple[NDArray[Any], float] | None = None,
) -> Patch:
    """Render pixels of other faces into the face of `picture` under `mask` [128 128], as a patch of the smallest box.

    Each of `parts` is a face, its sampling grid [128 128 2] (positions in its crop for the pixels of this crop), and
    its share, for all or for each pixel [128 128]; the shares sum to 1. Its light is matched to that of `crop`
    [128 128 3]. `lips` are landmarks [n 2] of an area in which neither light nor colour is compared. `strength` 0..1
    scales the mask. `inner`, landmarks [468 2+] and a weight, adds a synthetic inner mouth where the parts show none.
    """
    box, to_box = _compute_box(picture, transform, mask)
    if strength <= 0 or not box.width or not box.height:
        return EMPTY_PATCH
    colours = crop.astype(np.float32)
    skin = mask * (1 - _mark_lips(lips, mask.shape))
    centres, to_crop = map_pixel_centres(np.eye(2, 3), mask.shape[1], mask.shape[0], np.float32), invert_affine(to_box)
    layers: list[F32] = []
    for source, places, share in parts:
        warped = sample_smooth(source.crop, places).astype(np.float32)  # only its light and colour count
        gain, lift = _fit_light(colours, warped, skin)
        matched = cv2.transform(warped, np.column_stack([np.diag(gain), lift]))
        offset = lift + estimate_colour_offset(colours, np.asarray(matched, np.float32), mask)
        # cv2 rounds positions to 1/32 of a pixel: displacements are smooth enough for that, absolute positions are not.
        displacement = (places - centres) @ source.matrix[:, :2].T.astype(np.float32)
        positions = map_pixel_centres(_compose(source.matrix, to_crop), box.width, box.height, np.float32)
        positions += _warp_bilinear(displacement, to_box, box)
        factors = np.array([*gain, 0.0], dtype=np.float64)[:, None]  # in this shape, one a channel
        layer: F32 = np.asarray(
            cv2.multiply(sample_sharp(source.pixels, positions), factors, dtype=cv2.CV_32F), np.float32
        )
        layer += _warp_bilinear(offset, to_box, box)
        if len(parts) > 1:
            layer *= share if isinstance(share, float) else _warp_bilinear(share, to_box, box)[..., None]
        layers.append(layer)
    rgb = sum(layers[1:], layers[0])
    if inner is not None and inner[1] > 0:
        _draw_inner_mouth(rgb, to_box, inner[0], inner[1], _compute_brightness(colours, skin))
    alpha = np.clip(_warp_bilinear(mask, to_box, box), 0, 1) * np.float32(min(strength, 1.0))
    return Patch(box=box, rgb=np.rint(np.clip(rgb, 0, 255)).astype(np.uint8), alpha=alpha.astype(np.float32))


def _compute_box(picture: Picture, transform: CropTransform, mask: F32) -> tuple[Box, NDArray[np.float64]]:
    """Compute the box of the frame that the mask covers, and the matrix [2 3] from crop pixels to it."""
    rows, columns = np.flatnonzero(mask.max(axis=1)), np.flatnonzero(mask.max(axis=0))
    if not len(rows):
        return Box(0, 0, 0, 0), np.eye(2, 3)
    x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    part = np.array(transform.matrix, dtype=np.float64)
    part[:, 2] -= (x0, y0)
    box = compute_source_box(part, x1 - x0, y1 - y0, margin_px=0).clip(picture.width, picture.height)
    to_box = invert_affine(transform.matrix)
    to_box[:, 2] -= (box.x0, box.y0)
    return box, to_box


def _compose(after: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine matrix [2 3] that applies `before`, then `after`."""
    return np.asarray(after @ np.concatenate([before, [[0, 0, 1]]]))


def _warp_bilinear(image: NDArray[Any], matrix: NDArray[np.float64], box: Box) -> F32:
    """Warp a smooth map of the crop to the pixels of the box, bilinear."""
    centred = np.array(matrix)
    centred[:, 2] += centred[:, :2] @ (0.5, 0.5) - 0.5  # cv2 puts pixel centres at whole numbers
    size = (box.width, box.height)
    warped = cv2.warpAffine(image, centred, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.float32)


def _draw_inner_mouth(
    rgb: F32, to_box: NDArray[np.float64], landmarks: NDArray[Any], share: float, light: float
) -> None:
    """Draw an inner mouth into `rgb` [h w 3], at the resolution of `rgb`."""
    lips = apply_affine(to_box, landmarks[list(MOUTH_INNER), :2].astype(np.float64))
    low, high = np.floor(lips.min(axis=0)).astype(int), np.ceil(lips.max(axis=0)).astype(int) + 1
    x0, y0, x1, y1 = Box(*low, *high).clip(rgb.shape[1], rgb.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    grid = np.stack(np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5), axis=-1)
    places = apply_affine(invert_affine(to_box), grid.reshape(-1, 2)).reshape(grid.shape)
    colours, cover = render_inner_mouth(places, landmarks, light)
    part = rgb[y0:y1, x0:x1]
    part += (share * cover)[..., None] * (colours - part)


def _compute_brightness(colours: F32, skin: F32) -> float:
    """Compute the mean brightness of the skin, 0..1, of a face [h w 3] in 0..255."""
    return float(_compute_mean(colours, skin / max(float(skin.sum()), 1e-6)).mean()) / 255


def _fit_light(colours: F32, warped: F32, skin: F32) -> tuple[F32, F32]:
    """Fit gain and lift per colour, [3] each, so that gain * warped + lift matches the light on the skin of `colours`.

    Lamps and exposure scale light, which a gain alone models. Flashes, fog and dissolves also lift it: the skin's
    contrast then changes by another factor than its brightness.
    """
    weights = skin / max(float(skin.sum()), 1e-6)
    (target_mean, target_contrast), (mean, contrast) = (
        _measure_mean_and_contrast(picture, weights) for picture in (colours, warped)
    )
    scale = (target_mean + 1) / (mean + 1)
    flatness = (target_contrast + 1) / (contrast + 1) / float(scale.mean())
    trust = np.interp(abs(np.log(flatness)), np.log(_LIFT_RANGE), (0, 1))
    scale = np.clip(scale * flatness**trust, *_GAIN_RANGE)
    lift = trust * (target_mean - scale * mean)
    return scale.astype(np.float32), lift.astype(np.float32)


def _compute_mean(picture: F32, weights: F32) -> NDArray[np.float64]:
    """Compute the mean colour [3] of `picture` [h w 3] by `weights` [h w]."""
    return np.asarray(weights.reshape(-1) @ picture.reshape(-1, 3), dtype=np.float64)


def _measure_mean_and_contrast(picture: F32, weights: F32) -> tuple[NDArray[np.float64], float]:
    """Measure the mean colour [3] and the standard deviation of the brightness, by `weights` [h w]."""
    mean = _compute_mean(picture, weights)
    deviation = average_colours(picture) - np.float32(mean.mean())
    return mean, float(np.sqrt(weights.reshape(-1) @ deviation.reshape(-1) ** 2))


def _mark_lips(lips: NDArray[Any], shape: tuple[int, ...]) -> F32:
    canvas = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(canvas, cv2.convexHull(np.rint(lips - 0.5).astype(np.int32)), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _LIP_MARGIN_PX + 1,) * 2)
    return np.asarray(cv2.dilate(canvas, disc), dtype=np.float32)


def collect_outer_lips(*landmarks: NDArray[Any]) -> NDArray[Any]:
    """Collect the outer lip points [n 2] of several faces [468 2+], for `transfer_pixels`."""
    return np.concatenate([points[list(MOUTH_OUTER), :2] for points in landmarks])
