"""Some of a stream's items, evenly spaced over a length that nobody knows beforehand."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class EvenlySpaced(Generic[T]):
    """Keeps `count` to twice as many items of a stream (all of a shorter one): the spacing doubles as it goes on."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: dict[int, T] = {}
        self._spacing = 1

    def offer(self, index: int, make: Callable[[], T]) -> None:
        """Keep what `make` gives for item `index`, if it is one of them; indices rise from 0 by 1."""
        if index % self._spacing:
            return
        self._kept[index] = make()
        if len(self._kept) > 2 * self._count:
            self._spacing *= 2
            self._kept = {i: item for i, item in self._kept.items() if i % self._spacing == 0}

    @property
    def items(self) -> dict[int, T]:
        """By index, in order."""
        return self._kept
