"""One source for several readers, without the memory of what each has read."""

import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import ExitStack

import pytest

from cals.inference.iteration import close_with, prefetch_frames, tee


class Item:
    pass


class Picture(Item):
    """A frame of which `held` may wait in a thread."""

    def __init__(self, held: int = 8) -> None:
        self.held = held

    def count_within(self, memory_bytes: int, most: int) -> int:
        assert memory_bytes > 0
        return max(1, min(self.held, most))


def read_pictures(source: Iterator[Picture]) -> Generator[Picture, None, None]:
    return prefetch_frames(source, lambda picture: picture)  # type: ignore[arg-type,return-value]


def test_each_iterator_yields_all_in_order() -> None:
    ahead, behind = tee(iter(range(5)), 2)
    assert [next(ahead), next(ahead), next(behind), *ahead, *behind] == [0, 1, 0, 2, 3, 4, 1, 2, 3, 4]
    assert [list(own) for own in tee([], 3)] == [[], [], []]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_item_is_let_go_once_all_have_yielded_it(count: int) -> None:
    alive: list[weakref.ref[Item]] = []

    def source():
        for _ in range(100):
            item = Item()
            alive.append(weakref.ref(item))
            yield item
            del item

    for _ in zip(*tee(source(), count), strict=True):
        assert sum(ref() is not None for ref in alive) <= 2


def test_an_item_waits_for_the_slowest() -> None:
    items = [Item() for _ in range(3)]
    refs = [weakref.ref(item) for item in items]
    ahead, behind = tee((items.pop(0) for _ in range(3)), 2)
    for _ in ahead:
        pass
    assert all(ref() is not None for ref in refs)
    for _ in behind:
        pass
    del _
    assert all(ref() is None for ref in refs)


def test_errors_of_the_source_reach_the_reader() -> None:
    def source():
        yield 1
        raise OSError("gone")

    first, second = tee(source(), 2)
    assert next(first) == 1
    with pytest.raises(OSError, match="gone"):
        next(first)
    assert list(second) == [1]


def test_stages_are_closed_in_reverse() -> None:
    closed = []

    class Stage:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)

    with ExitStack() as stages:
        assert close_with(stages, Stage("first")).name == "first"
        close_with(stages, Stage("second"))
        assert close_with(stages, [1]) == [1]
    assert closed == ["second", "first"]


@pytest.mark.parametrize("held", [1, 2, 8])
def test_frames_are_made_ahead_in_order_and_let_go(held: int) -> None:
    alive: list[weakref.ref[Picture]] = []

    def source() -> Iterator[Picture]:
        for _ in range(60):
            picture = Picture(held)
            alive.append(weakref.ref(picture))
            yield picture
            del picture

    threads = threading.active_count()
    count = 0
    for picture in read_pictures(source()):
        assert alive[count]() is picture
        assert sum(ref() is not None for ref in alive) <= held // 2 + 4
        count += 1
    del picture
    assert count == 60
    assert not [ref for ref in alive if ref() is not None]
    assert threading.active_count() == threads


def test_closing_stops_the_thread_and_its_errors_are_raised_by_the_reader() -> None:
    def source() -> Iterator[Picture]:
        yield Picture()
        yield Picture()
        raise OSError("gone")

    threads, pictures = threading.active_count(), read_pictures(source())
    next(pictures)
    next(pictures)
    pictures.close()
    assert threading.active_count() == threads
    with pytest.raises(OSError, match="gone"):
        list(read_pictures(source()))
