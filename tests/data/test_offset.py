import numpy as np
import pytest

from cals.data.offset import MAX_SHIFT, compute_loudness, compute_offset_curve, estimate_group_offset


def opening(frames: int, seed: int = 0) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(size=frames + 8)
    return np.convolve(steps, np.hanning(7), mode="valid")[:frames]


@pytest.mark.parametrize("shift", [-10, -3, 0, 1, 7])
def test_a_planted_offset_is_found(shift: int) -> None:
    lips = opening(120)
    sound = np.roll(lips, shift)  # shift > 0: the sound comes late
    noisy = sound + np.random.default_rng(1).normal(0, 0.5 * lips.std(), 120)
    offset = estimate_group_offset([compute_offset_curve(lips, noisy)])
    assert offset.offset_frames == shift
    assert offset.correlation > 0.5


def test_many_short_clips_say_what_one_cannot() -> None:
    curves = []
    for seed in range(30):
        lips = opening(40, seed)
        noise = np.random.default_rng(100 + seed).normal(0, 1.5 * lips.std(), 40)
        curves.append(compute_offset_curve(lips, np.roll(lips, 4) + noise))
    alone = [estimate_group_offset([curve]).offset_frames for curve in curves]
    assert sum(offset != 4 for offset in alone) > 3
    assert estimate_group_offset(curves).offset_frames == 4


def test_nothing_that_moves_correlates_with_nothing() -> None:
    curve = compute_offset_curve(np.zeros(60), opening(60))
    assert curve.tolist() == [0.0] * (2 * MAX_SHIFT + 1)
    assert estimate_group_offset([curve]).offset_frames == 0


def test_loudness_of_each_frame() -> None:
    wav = np.zeros(640 * 3 + 100, np.float32)
    wav[640:1280] = 0.1
    levels = compute_loudness(wav, 640, 4)
    assert levels == pytest.approx([0, 40, 0, 0], abs=1e-4)


def test_too_few_clips_are_taken_to_have_no_offset() -> None:
    lips = opening(120)
    curves = [compute_offset_curve(lips, np.roll(lips, 6))] * 3
    assert estimate_group_offset(curves).offset_frames == 6
    few = estimate_group_offset(curves, min_clips=4)
    assert few.offset_frames == 0
    assert few.correlation == curves[0][MAX_SHIFT]
