"""What a person looks like from the eyes to the nose, seen over time, to know them again."""

import numpy as np

from cals.types import F32

_MOST = 12
_NEW = 0.9
"""A view that no kept one is more like than this is kept too: a head turned, brows raised, another light."""


class Looks:
    """Some views of a person, as `MeshFit.thumb`; empty at first."""

    def __init__(self) -> None:
        self._views: list[F32] = []

    def __bool__(self) -> bool:
        return bool(self._views)

    def likeness(self, thumb: F32) -> float:
        """Correlation with the most similar view; -1 if there is none."""
        return max((float(thumb @ view) for view in self._views), default=-1.0)

    def add(self, thumb: F32) -> None:
        """Learn another view of the same person. The first ones stay: who is followed does not drift."""
        if self.likeness(thumb) < _NEW:
            self._views = [*self._views[: _MOST - 1], np.asarray(thumb, dtype=np.float32)]
