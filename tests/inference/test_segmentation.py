"""Cutting speech into pieces: at pauses, else where it is quietest, and without losing anything."""

import tracemalloc

import numpy as np
import pytest

from cals.inference.even_sampling import EvenSampler
from cals.inference.segmentation import MAX_SEGMENT_S, find_pause, split_segments
from cals.types import F32

FPS = 25
LONGEST = MAX_SEGMENT_S * FPS


def draw_levels(*parts: tuple[str, int], seed: int = 0) -> F32:
    """Draw the loudness in dB of stretches of "speech" (35 to 50), of "silence" (0 to 2) and of "hum" (34)."""
    rng = np.random.default_rng(seed)
    ranges = {"speech": (35, 50), "silence": (0, 2), "hum": (34, 34)}
    return np.concatenate([rng.uniform(*ranges[kind], size=count) for kind, count in parts]).astype(np.float32)


def measure_lengths(levels: F32, *, pauses: bool = True) -> list[int]:
    items = list(enumerate(levels.tolist()))
    pieces = list(split_segments(items, lambda item: item[1], FPS, pauses=pauses))
    assert [item for piece in pieces for item in piece] == items
    assert all(0 < len(piece) <= LONGEST for piece in pieces)
    return [len(piece) for piece in pieces]


def test_a_sentence_is_one_piece_whatever_is_around_it() -> None:
    assert measure_lengths(draw_levels(("silence", 20), ("speech", 40), ("silence", 20))) == [80]
    assert measure_lengths(draw_levels(("speech", 100), ("silence", 9), ("speech", 100))) == [209]  # too short a pause
    assert measure_lengths(draw_levels(("speech", 1))) == [1]
    assert measure_lengths(np.zeros(0, np.float32)) == []


def test_pauses_part_sentences() -> None:
    levels = draw_levels(("speech", 60), ("silence", 20), ("speech", 90), ("silence", 40), ("speech", 30))
    assert measure_lengths(levels) == [70, 120, 50]
    assert measure_lengths(np.tile(levels, 4))[:3] == [70, 120, 120]  # in a longer one too
    assert measure_lengths(levels, pauses=False) == [240]


def test_without_a_pause_it_is_cut_where_it_is_quietest() -> None:
    levels = draw_levels(("speech", 200), ("hum", 9), ("speech", 191))
    first, second = measure_lengths(levels)
    assert 200 < first < 209
    assert first + second == 400
    early = draw_levels(("speech", 50), ("hum", 9), ("speech", 291))  # not in the first half of 10 s
    assert measure_lengths(early)[0] > LONGEST // 2


@pytest.mark.parametrize("pauses", [True, False])
@pytest.mark.parametrize("level", [0.0, 40.0])
def test_where_nothing_differs_pieces_are_whole(level: float, pauses: bool) -> None:
    assert measure_lengths(np.full(3 * LONGEST + 7, level, np.float32), pauses=pauses) == [LONGEST] * 3 + [7]


@pytest.mark.parametrize("seed", range(5))
def test_any_speech_comes_out_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [(str(rng.choice(["speech", "silence", "hum"])), int(rng.integers(1, 200))) for _ in range(12)]
    assert sum(measure_lengths(draw_levels(*parts, seed=seed))) == sum(count for _, count in parts)


def test_a_pause_has_speech_on_both_sides() -> None:
    assert find_pause(draw_levels(("silence", 60), ("speech", 60)), FPS) is None
    assert find_pause(draw_levels(("speech", 60), ("silence", 60)), FPS) is None
    assert find_pause(draw_levels(("speech", 60), ("silence", 20), ("speech", 60)), FPS) == 70
    assert find_pause(draw_levels(("speech", 5), ("silence", 20), ("speech", 60)), FPS) is None  # too near the start


def test_memory_does_not_grow_with_the_length() -> None:
    def measure_peak(count: int) -> int:
        tracemalloc.start()
        levels = (float(i % 37) for i in range(count))
        for _ in split_segments(levels, lambda level: level, FPS):
            pass
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak_bytes

    measure_peak(500)
    assert measure_peak(20_000) < 2 * measure_peak(1_000)


@pytest.mark.parametrize("count", [0, 1, 5, 10, 11, 12, 1000])
def test_kept_items_are_evenly_spaced(count: int) -> None:
    sampler = EvenSampler[int](5)
    for index in range(count):
        sampler.offer(index, lambda: -index)  # noqa: B023  # called at once
    indices = list(sampler.items)
    assert all(sampler.items[index] == -index for index in indices)
    assert min(count, 5) <= len(indices) <= 10
    steps = set(np.diff(indices).tolist())
    assert len(steps) <= 1
    assert indices == [] or (indices[0] == 0 and count - indices[-1] <= (steps or {1}).pop())
