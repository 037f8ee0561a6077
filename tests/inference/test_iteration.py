"""One source for several readers, without the memory of what each has read."""

import weakref
from contextlib import ExitStack

import pytest

from cals.inference.iteration import close_with, tee


class Item:
    pass


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
