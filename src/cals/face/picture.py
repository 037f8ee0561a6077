"""A picture in memory."""

import cv2
import numpy as np

from cals.face.sampling import average_blocks
from cals.types import U8, Box, Patch


class ArrayPicture:
    """A `Picture` over an RGB array [h w 3]; used for stills, previews and tests."""

    def __init__(self, rgb: U8) -> None:
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise ValueError(f"picture: expected uint8 [h w 3], found {rgb.dtype} {rgb.shape}")
        self._rgb = rgb

    @property
    def width(self) -> int:
        return int(self._rgb.shape[1])

    @property
    def height(self) -> int:
        return int(self._rgb.shape[0])

    def rgb(self, box: Box | None = None, blocks: int = 1) -> U8:
        """Return a view, not a copy: do not write to it; or averages over `blocks` x `blocks` pixels."""
        rgb = self._rgb if box is None else self._rgb[box.y0 : box.y1, box.x0 : box.x1]
        return rgb if blocks == 1 else np.asarray(average_blocks(rgb, blocks), np.uint8)

    @property
    def nbytes(self) -> int:
        return self._rgb.nbytes

    def cut(self, box: Box) -> "ArrayPicture":
        """Copy the part of `box`, which must lie inside the picture."""
        return ArrayPicture(self.rgb(box).copy())

    def luma(self, width: int, height: int) -> U8:
        """Compute the BT.601 brightness reduced by area; large pictures are subsampled first, which is cheaper."""
        stride = max(1, min(self.width // (2 * width), self.height // (2 * height)))
        small = cv2.resize(self._rgb[::stride, ::stride], (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)

    def apply_patch(self, patch: Patch) -> U8:
        """Return a copy of the array with `patch` blended in; pixels of alpha 0 stay bit exact."""
        out = self._rgb.copy()
        box = patch.box
        old = out[box.y0 : box.y1, box.x0 : box.x1]
        alpha = patch.alpha[..., None]
        blended = old + alpha * (patch.rgb.astype(np.float32) - old)
        out[box.y0 : box.y1, box.x0 : box.x1] = np.where(alpha > 0, np.rint(blended), old).astype(np.uint8)
        return out
