"""Appearance of a person from the eyes to the nose over time, for re-identification."""

import numpy as np

from cals.types import F32

_MAX_VIEWS = 12
_MAX_SIMILARITY = 0.9
"""A view whose correlation with all stored ones is lower is stored too: another pose, expression or light."""


class AppearanceGallery:
    """A gallery of views of a person, as `MeshFit.thumbnail`; empty at first."""

    def __init__(self) -> None:
        self._views: list[F32] = []

    def __bool__(self) -> bool:
        return bool(self._views)

    def compute_similarity(self, thumb: F32) -> float:
        """Return the correlation with the most similar view; -1 if there is none."""
        return max((float(thumb @ view) for view in self._views), default=-1.0)

    def add(self, thumb: F32) -> None:
        """Add a view of the same person. The first views are kept, so that the identity does not drift."""
        if self.compute_similarity(thumb) < _MAX_SIMILARITY:
            self._views = [*self._views[: _MAX_VIEWS - 1], np.asarray(thumb, dtype=np.float32)]
