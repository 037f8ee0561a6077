"""A decoded picture in its own pixel format, with its exact place in time."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, cast

import av
import cv2
import numpy as np

from cals.media.color import LAYOUTS, ColorSpace, Plane, blend, color_space, region_rgb
from cals.media.fields import merge_fields
from cals.types import U8, Box, Patch

Planes = tuple[Plane, Plane, Plane]


def plane_views(picture: av.VideoFrame) -> tuple[Plane, ...]:
    """Views [h w] of Y, Cb, Cr and, where there is one, alpha, without copying and without row padding."""
    dtype: np.dtype[Any] = np.dtype(np.uint8 if LAYOUTS[picture.format.name].bits == 8 else np.uint16)
    views = []
    for plane in picture.planes:
        rows = np.frombuffer(memoryview(cast(Any, plane)), dtype=dtype).reshape(
            plane.height, plane.line_size // dtype.itemsize
        )
        views.append(rows[:, : plane.width])
    return tuple(views)


def from_planes(planes: Sequence[Plane], pix_fmt: str, like: av.VideoFrame | None = None) -> av.VideoFrame:
    """A new picture holding a copy of `planes`, with the colour tags of `like`."""
    height, width = planes[0].shape
    picture = av.VideoFrame(width, height, pix_fmt)
    for target, source in zip(plane_views(picture), planes, strict=True):
        target[...] = source
    if like is not None:
        picture.colorspace, picture.color_range = like.colorspace, like.color_range
        picture.color_primaries, picture.color_trc = like.color_primaries, like.color_trc
    return picture


class Frame:
    """One picture of a video; it never changes, and a patched or retimed one is a new `Frame`."""

    __slots__ = ("_picture", "_space", "_whole", "duration_s", "index", "key", "source_s", "time_s")

    def __init__(
        self, picture: av.VideoFrame, index: int, time_s: Fraction, duration_s: Fraction, key: bool = False
    ) -> None:
        self._picture = picture
        self._space: ColorSpace | None = None
        self._whole: Planes | None = None
        self.index = index
        self.time_s = time_s
        """Seconds after the first frame, exact."""
        self.source_s = time_s
        """When it is shown in its own video: a frame shown again, later, keeps this time."""
        self.duration_s = duration_s
        self.key = key
        """Decoding can start here."""

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
        """The memory that its pixels take."""
        return sum(plane.nbytes for plane in plane_views(self._picture))

    def count_within(self, memory_bytes: int, most: int) -> int:
        """How many frames as large as this one are held together: `most`, or fewer to stay in that memory."""
        return max(1, min(most, memory_bytes // self.nbytes))

    @property
    def picture(self) -> av.VideoFrame:
        """The picture as the encoder takes it; its pixels are shared, so they must not be written to."""
        return self._picture

    @property
    def planes(self) -> Planes:
        """Y, Cb and Cr as stored, [h w] each, uint8 or uint16; shared, so they must not be written to."""
        luma, blue, red = plane_views(self._picture)[:3]
        return luma, blue, red

    @property
    def space(self) -> ColorSpace:
        """The colour space that `rgb` and `with_patch` work in."""
        if self._space is None:
            picture = self._picture
            self._space = color_space(
                picture.format.name, int(picture.colorspace), int(picture.color_range), picture.height
            )
        return self._space

    @property
    def _whole_planes(self) -> Planes:
        """The planes, of interlaced pictures without combs."""
        if not self._picture.interlaced_frame:
            return self.planes
        if self._whole is None:
            luma, blue, red = (merge_fields(plane, self.space.layout.bits) for plane in self.planes)
            self._whole = luma, blue, red
        return self._whole

    def rgb(self, box: Box | None = None) -> U8:
        """Pixels [h w 3] of `box` (which must lie inside the picture), or of the whole picture."""
        return region_rgb(self._whole_planes, self.space, box or Box(0, 0, self.width, self.height))

    def luma(self, width: int, height: int) -> U8:
        """The stored brightness, [height width], reduced to that size; limited range stays limited (16..235)."""
        plane = self._whole_planes[0]
        # Thinning first keeps the area mean cheap on large pictures; the mean still sees 2 x 2 samples or more.
        thin = max(1, min(plane.shape[1] // (2 * width), plane.shape[0] // (2 * height)))
        small = np.asarray(
            cv2.resize(plane[::thin, ::thin], (width, height), interpolation=cv2.INTER_AREA), plane.dtype
        )
        if small.dtype != np.uint8:
            small = np.right_shift(small, self.space.layout.bits - 8).astype(np.uint8)
        return np.asarray(small, dtype=np.uint8)

    def with_patch(self, patch: Patch) -> "Frame":
        """This frame with one region changed; samples where alpha is 0 stay bit exact."""
        # The decoder may still refer to its own buffers, and other frames to ours: always a copy.
        made = self._made(
            from_planes(plane_views(self._picture), self.pix_fmt, like=self._picture),
            self.index,
            self.time_s,
            self.duration_s,
        )
        blend(made.planes, self.space, patch)
        return made

    def retimed(self, index: int, time_s: Fraction, duration_s: Fraction) -> "Frame":
        """The same pixels at another place in time; the buffers are shared."""
        return self._made(self._picture, index, time_s, duration_s)

    def _made(self, picture: av.VideoFrame, index: int, time_s: Fraction, duration_s: Fraction) -> "Frame":
        made = Frame(picture, index, time_s, duration_s)
        made.source_s = self.source_s
        return made

    def same_pixels(self, other: "Frame") -> bool:
        """Whether both share one picture; cheap, so equal pixels in different buffers count as different."""
        return self._picture is other._picture

    def __repr__(self) -> str:
        return f"Frame({self.index}, {float(self.time_s):.3f} s, {self.width}x{self.height} {self.pix_fmt})"
