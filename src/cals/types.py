"""Data types that all packages share: boxes, pictures, faces, transforms, patches."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


class Box(NamedTuple):
    """Pixel rectangle, half open: columns x0 <= x < x1, rows y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    def clip(self, width: int, height: int) -> "Box":
        """Return the part inside a `width` x `height` picture; it has no area where the box lies outside."""
        x0, y0 = min(max(self.x0, 0), width), min(max(self.y0, 0), height)
        return Box(x0, y0, max(x0, min(self.x1, width)), max(y0, min(self.y1, height)))


class PixelSource(Protocol):
    """A part of a picture on its own, without the memory of the rest."""

    @property
    def nbytes(self) -> int: ...

    def rgb(self) -> U8:
        """Return the pixels [h w 3]."""
        ...


class Picture(Protocol):
    """The interface of a frame for the face code; `media.Frame` and `ArrayPicture` implement it."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def rgb(self, box: Box | None = None, blocks: int = 1) -> U8:
        """Return the pixels [h w 3] of `box` (which must lie inside the picture), or of the whole picture.

        They are averaged over `blocks` x `blocks` pixels each; the last of them may reach beyond the box. A box that is
        averaged begins at even pixels.
        """
        ...

    def cut(self, box: Box) -> PixelSource:
        """Copy the part of `box`, which must lie inside the picture."""
        ...

    def luma(self, width: int, height: int) -> U8:
        """Return the brightness of the whole picture, [height width], cheaply reduced to that size."""
        ...


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """The face of one person in one frame, or its explicit absence (`valid` is False, arrays empty)."""

    index: int
    """Frame number, from 0."""
    time_s: Fraction
    """Seconds after the first frame."""
    valid: bool
    track: int
    """Number of the track; it grows at a cut, at a change of identity and after a gap."""
    cut: bool
    """Whether this frame starts a new shot: nothing may be smoothed or faded across its start."""
    score: float
    """Mesh confidence, 0 to 1."""
    box: Box | None
    """Tight box of the landmarks, in pixels, possibly reaching outside the frame."""
    landmarks: F32 = field(repr=False)
    """[468 3] mesh points x, y in frame pixels (pixel centres at .5), z in the same scale; [0 3] if invalid."""
    skip_reason: str | None = None
    """Why no mouth should be rendered into this face, see `face.hindrance`; None where one may be."""


def invert_affine(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Invert an affine matrix [2 3]; raises ZeroDivisionError where there is no inverse."""
    (a, b, x), (c, d, y) = matrix.tolist()  # in plain numbers: NumPy's solver takes twenty times as long on so few
    area = a * d - b * c
    a, b, c, d = d / area, -b / area, -c / area, a / area
    return np.array([[a, b, -(a * x + b * y)], [c, d, -(c * x + d * y)]])


def compute_scale(matrix: NDArray[Any]) -> float:
    """Compute by how much an affine matrix [2 3] enlarges lengths: the square root of the ratio of areas."""
    (a, b), (c, d) = matrix[:, :2].tolist()
    return float(abs(a * d - b * c) ** 0.5)


def apply_affine(matrix: NDArray[Any], points: NDArray[Any]) -> NDArray[np.float64]:
    """Apply an affine matrix [2 3] to points [n 2]."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class CropTransform:
    """Similarity from frame pixels to crop pixels (both with pixel centres at .5) and its exact inverse."""

    matrix: NDArray[np.float64]
    """[2 3], crop = matrix @ (x, y, 1)."""
    size_px: int

    @property
    def inverse(self) -> NDArray[np.float64]:
        """[2 3], frame = inverse @ (x, y, 1)."""
        return invert_affine(self.matrix)

    @property
    def scale(self) -> float:
        """Crop pixels per frame pixel."""
        return compute_scale(self.matrix)

    def to_crop(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Map points [n 2] from the frame into the crop."""
        return apply_affine(self.matrix, points)

    def map_landmarks(self, points: NDArray[Any]) -> F32:
        """Map mesh points [n 3] from the frame into the crop, z in its scale as well."""
        return np.column_stack([self.to_crop(points[:, :2]), points[:, 2] * self.scale]).astype(np.float32)

    def to_frame(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Map points [n 2] from the crop into the frame."""
        return apply_affine(self.inverse, points)


@dataclass(frozen=True, eq=False)
class Patch:
    """New pixels for one region of a picture: out = (1 - alpha) old + alpha rgb; alpha 0 leaves a pixel untouched."""

    box: Box
    rgb: U8
    """[h w 3]"""
    alpha: F32
    """[h w] in 0..1"""


ProgressCallback = Callable[[int, int | None], None]
"""Called with the number of items done and their total, None when it is not known."""
