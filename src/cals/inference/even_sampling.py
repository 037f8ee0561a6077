"""Evenly spaced items of a stream of unknown length."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class EvenSampler(Generic[T]):
    """Keeps `count` to 2 x `count` items of a stream (all of a shorter one); the spacing doubles as it grows."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._items: dict[int, T] = {}
        self._spacing = 1

    def offer(self, index: int, make: Callable[[], T]) -> None:
        """Keep the result of `make` for item `index` if the spacing selects it; indices rise from 0 by 1."""
        if index % self._spacing:
            return
        self._items[index] = make()
        if len(self._items) > 2 * self._count:
            self._spacing *= 2
            self._items = {i: item for i, item in self._items.items() if i % self._spacing == 0}

    @property
    def items(self) -> dict[int, T]:
        """Kept items by index, in order."""
        return self._items
