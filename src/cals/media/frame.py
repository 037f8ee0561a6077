"""A decoded picture in its own pixel format, with its exact time."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, cast

import av
import cv2
import numpy as np

from cals.media.color import LAYOUTS, ColorSpace, Cutout, Plane, blend, convert_region, cut_region, get_color_space
from cals.media.fields import merge_fields
from cals.types import U8, Box, Patch

Planes = tuple[Plane, Plane, Plane]


def get_plane_views(picture: av.VideoFrame) -> tuple[Plane, ...]:
    """Return views [h w] of Y, Cb, Cr and, if present, alpha, without copying and without row padding."""
    dtype: np.dtype[Any] = np.dtype(np.uint8 if LAYOUTS[picture.format.name].bits == 8 else np.uint16)
    views = []
    for plane in picture.planes:
        rows = np.frombuffer(memoryview(cast(Any, plane)), dtype=dtype).reshape(
            plane.height, plane.line_size // dtype.itemsize
        )
        views.append(rows[:, : plane.width])
    return tuple(views)


def from_planes(planes: Sequence[Plane], pix_fmt: str, like: av.VideoFrame | None = None) -> av.VideoFrame:
    """Build a picture with a copy of `planes` and the colour tags of `like`."""
    height, width = planes[0].shape
    picture = av.VideoFrame(width, height, pix_fmt)
    for target, source in zip(get_plane_views(picture), planes, strict=True):
        target[...] = source
    if like is not None:
        picture.colorspace, picture.color_range = like.colorspace, like.color_range
        picture.color_primaries, picture.color_trc = like.color_primaries, like.color_trc
    return picture


class Frame:
    """One picture of a video; immutable, so a patched or retimed one is a new `Frame`."""

    __slots__ = ("_deinterlaced", "_picture", "_space", "duration_s", "index", "key", "source_s", "time_s")

    def __init__(
        self, picture: av.VideoFrame, index: int, time_s: Fraction, duration_s: Fraction, key: bool = False
    ) -> None:
        self._picture = picture
        self._space: ColorSpace | None = None
        self._deinterlaced: Planes | None = None
        self.index = index
        self.time_s = time_s
        """Seconds after the first frame, exact."""
        self.source_s = time_s
        """Time in the source video: a frame that is repeated later keeps this time."""
        self.duration_s = duration_s
        self.key = key
        """Whether decoding can start here."""

    @property
    def width(self) -> int:
        return self._picture.width

    @property
    def height(self) -> int:
        return self._picture.height

    @property
    def pix_fmt(self) -> str:
        return self._picture.format.name

    @property
    def nbytes(self) -> int:
        """Memory of the pixels in bytes."""
        return sum(plane.nbytes for plane in get_plane_views(self._picture))

    def count_within(self, memory_bytes: int, most: int) -> int:
        """Return how many frames of this size fit into that memory, at least 1 and no more than `most`."""
        return max(1, min(most, memory_bytes // self.nbytes))

    @property
    def picture(self) -> av.VideoFrame:
        """The picture for the encoder; its pixels are shared, so they must not be written to."""
        return self._picture

    @property
    def planes(self) -> Planes:
        """Y, Cb and Cr as stored, [h w] each, uint8 or uint16; shared, so they must not be written to."""
        luma, blue, red = get_plane_views(self._picture)[:3]
        return luma, blue, red

    @property
    def space(self) -> ColorSpace:
        """The colour space that `rgb` and `with_patch` work in."""
        if self._space is None:
            picture = self._picture
            self._space = get_color_space(
                picture.format.name, int(picture.colorspace), int(picture.color_range), picture.height
            )
        return self._space

    @property
    def _deinterlaced_planes(self) -> Planes:
        """The planes, deinterlaced where the picture is interlaced."""
        if not self._picture.interlaced_frame:
            return self.planes
        if self._deinterlaced is None:
            luma, blue, red = (merge_fields(plane, self.space.layout.bits) for plane in self.planes)
            self._deinterlaced = luma, blue, red
        return self._deinterlaced

    def rgb(self, box: Box | None = None, blocks: int = 1) -> U8:
        """Return the pixels [h w 3] of `box` (which must lie inside the picture), or of the whole picture.

        They are averaged over `blocks` x `blocks` pixels each, see `Picture`.
        """
        return convert_region(self._deinterlaced_planes, self.space, box or Box(0, 0, self.width, self.height), blocks)

    def cut(self, box: Box) -> Cutout:
        """Copy the part of `box`, which must lie inside the picture."""
        return cut_region(self._deinterlaced_planes, self.space, box)

    def luma(self, width: int, height: int) -> U8:
        """Return the stored brightness, [height width], reduced to that size; limited range stays limited (16..235)."""
        plane = self._deinterlaced_planes[0]
        # Striding first keeps the area mean cheap on large pictures; it still averages 2 x 2 samples or more.
        stride = max(1, min(plane.shape[1] // (2 * width), plane.shape[0] // (2 * height)))
        small = np.asarray(
            cv2.resize(plane[::stride, ::stride], (width, height), interpolation=cv2.INTER_AREA), plane.dtype
        )
        if small.dtype != np.uint8:
            small = np.right_shift(small, self.space.layout.bits - 8).astype(np.uint8)
        return np.asarray(small, dtype=np.uint8)

    def with_patch(self, patch: Patch) -> "Frame":
        """Return a copy with one region changed; samples where alpha is 0 stay bit exact."""
        # The decoder and other frames may share these buffers, so they are always copied.
        patched = self._copy_with(
            from_planes(get_plane_views(self._picture), self.pix_fmt, like=self._picture),
            self.index,
            self.time_s,
            self.duration_s,
        )
        blend(patched.planes, self.space, patch)
        return patched

    def with_time(self, index: int, time_s: Fraction, duration_s: Fraction) -> "Frame":
        """Return the same pixels at another time; the buffers are shared."""
        return self._copy_with(self._picture, index, time_s, duration_s)

    def _copy_with(self, picture: av.VideoFrame, index: int, time_s: Fraction, duration_s: Fraction) -> "Frame":
        frame = Frame(picture, index, time_s, duration_s)
        frame.source_s = self.source_s
        return frame

    def has_same_pixels(self, other: "Frame") -> bool:
        """Return whether both share one picture; a cheap test: equal pixels in different buffers count as different."""
        return self._picture is other._picture

    def __repr__(self) -> str:
        return f"Frame({self.index}, {float(self.time_s):.3f} s, {self.width}x{self.height} {self.pix_fmt})"
