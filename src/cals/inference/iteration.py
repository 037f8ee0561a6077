"""Iterators in stages: one source for several readers, items made in a thread, and stages closed in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from typing import TypeVar

from cals.inference import painters
from cals.media.background import prefetch
from cals.media.frame import Frame

T = TypeVar("T")
_AHEAD = 4
"""Frames that are tracked before they are asked for."""


def tee(source: Iterable[T], count: int) -> list[Iterator[T]]:
    """Return `count` iterators over `source`, which keep an item only until each of them has yielded it.

    Those of `itertools.tee` keep items in blocks of 57, which of 1080p frames is 180 MB.
    """
    items, queues = iter(source), [deque[T]() for _ in range(count)]

    def read(queue: deque[T]) -> Iterator[T]:
        while True:
            if not queue:
                try:
                    item = next(items)
                except StopIteration:
                    return
                for other in queues:
                    other.append(item)
                del item
            yield queue.popleft()

    return [read(queue) for queue in queues]


def prefetch_frames(items: Iterator[T], get_frame: Callable[[T], Frame]) -> Generator[T, None, None]:
    """Iterate over `items` in a thread, after the first one.

    The thread is `_AHEAD` items before their reader, fewer where frames are large; where they are huge there is none.
    """
    for item in items:
        ahead = get_frame(item).count_within(painters.BATCH_BYTES, 2 * _AHEAD) // 2
        yield item
        del item
        yield from prefetch(items, ahead) if ahead else items


def close_with(stages: ExitStack, stage: T) -> T:
    """Return `stage`, which `stages` closes on exit; later ones first."""
    close = getattr(stage, "close", None)
    if close is not None:
        stages.callback(close)
    return stage
