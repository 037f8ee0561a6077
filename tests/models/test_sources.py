"""The choice of sources is the cheapest of all paths."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from cals.models.sources import choose_sources

JUMP = 0.4


def is_next(neighbours: NDArray[np.bool_], one: int, other: int) -> bool:
    return one == other or (abs(one - other) == 1 and bool(neighbours[min(one, other)]))


def cost(path: list[int], costs: NDArray[np.float64], neighbours: NDArray[np.bool_], before: int | None) -> float:
    steps = itertools.pairwise(path if before is None else [before, *path])
    jumps = sum(not is_next(neighbours, one, other) for one, other in steps)
    return float(sum(costs[t, source] for t, source in enumerate(path)) + JUMP * jumps)


@pytest.mark.parametrize("before", [None, 0, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_no_way_is_cheaper(seed: int, before: int | None) -> None:
    rng = np.random.default_rng(seed)
    costs, neighbours = rng.random((5, 4)), rng.random(3) < 0.5
    found = choose_sources(costs, neighbours, JUMP, before)
    least = min(cost(list(path), costs, neighbours, before) for path in itertools.product(range(4), repeat=5))
    assert cost(found, costs, neighbours, before) == pytest.approx(least)


def test_the_video_goes_on_while_it_is_good_enough() -> None:
    costs = np.full((6, 8), 0.3)
    costs[np.arange(6), [4, 0, 6, 2, 7, 3]] = 0.1  # a little better, but each in another place
    chain = np.ones(7, dtype=bool)
    assert max(np.abs(np.diff(choose_sources(costs, chain, 5.0, 1)))) <= 1
    assert choose_sources(costs, chain, 0.01, 1) == [4, 0, 6, 2, 7, 3]


def test_what_comes_later_decides_where_to_go_now() -> None:
    costs = np.array([[0.0, 0.1], [9.0, 0.0], [9.0, 0.0]])
    assert choose_sources(costs, np.array([False]), 1.0, None) == [1, 1, 1]
    assert choose_sources(costs[:1], np.array([False]), 1.0, None) == [0]


def test_a_single_mouth_serves_for_all() -> None:
    assert choose_sources(np.ones((3, 1)), np.zeros(0, dtype=bool), JUMP, None) == [0, 0, 0]
    assert choose_sources(np.ones((3, 1)), np.zeros(0, dtype=bool), JUMP, 0) == [0, 0, 0]
