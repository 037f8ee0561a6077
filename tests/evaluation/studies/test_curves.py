"""Pooled correlations, resamples and windows against values that are known."""

import json

import numpy as np
import pytest

from cals.data.synthetic.oracle import find_window
from cals.evaluation.studies.curves import (
    ClipRecord,
    Series,
    build_series,
    compute_measures,
    find_gain_point,
)
from cals.face.landmarks import MOUTH_68
from cals.metrics.bootstrap import RESAMPLES, estimate_interval, sample_clip_counts
from cals.metrics.motion import correlation


def clip(rng: np.random.Generator, moments: int, noise: float = 0.0, level: float = 0.0) -> Series:
    real = rng.normal(size=moments)
    generated = real + noise * rng.normal(size=moments) + level
    return Series(real=(real + level).tolist(), made=generated.tolist(), lmd=rng.uniform(0, 2, moments).tolist())


def test_one_clip_is_pearsons_and_the_mean() -> None:
    one = clip(np.random.default_rng(0), 30, noise=1.0)
    result = compute_measures([one], sample_clip_counts(1, seed=0))
    assert result["opening"][0] == pytest.approx(correlation(np.array(one.made), np.array(one.real)))
    assert result["lmd"][0] == pytest.approx(np.mean(one.lmd))
    assert estimate_interval(result["opening"], 1).low is None


def test_large_mouths_prove_nothing() -> None:
    """Mouths that do not follow are not said to, however much people differ in their mean opening."""
    rng = np.random.default_rng(1)
    clips = [clip(rng, 10, level=level) for level in range(20)]
    shuffled = [Series(real=c.real, made=rng.permutation(c.made).tolist(), lmd=c.lmd) for c in clips]
    everything = np.concatenate([c.made for c in shuffled]), np.concatenate([c.real for c in shuffled])
    assert correlation(*everything) > 0.9
    assert abs(compute_measures(shuffled, sample_clip_counts(20, seed=0))["opening"][0]) < 0.2
    assert compute_measures(clips, sample_clip_counts(20, seed=0))["opening"][0] == pytest.approx(1)


def test_a_resample_counts_clips_as_often_as_they_were_drawn() -> None:
    rng = np.random.default_rng(2)
    clips = [clip(rng, 4 + i, noise=0.5) for i in range(5)]
    counts = sample_clip_counts(5, seed=3)
    assert counts.shape == (1 + RESAMPLES, 5)
    assert counts[0].tolist() == [1] * 5
    assert (counts.sum(axis=1) == 5).all()
    row = counts[7].astype(int)
    again = [one for one, times in zip(clips, row, strict=True) for _ in range(times)]
    for measure, value in compute_measures(again, np.ones((1, len(again)))).items():
        assert compute_measures(clips, counts)[measure][7] == pytest.approx(value[0])
    assert (sample_clip_counts(5, seed=3) == counts).all()
    assert (sample_clip_counts(5, seed=4) != counts).any()


def test_the_interval_holds_the_value_and_narrows_with_clips() -> None:
    rng = np.random.default_rng(3)
    clips = [clip(rng, 5, noise=1.0) for _ in range(200)]
    few, many = (
        estimate_interval(compute_measures(clips[:n], sample_clip_counts(n, seed=0))["opening"], n) for n in (10, 200)
    )
    assert few.low is not None
    assert many.low is not None
    assert few.high is not None
    assert many.high is not None
    assert few.low < few.value < few.high
    assert many.low < 2**-0.5 < many.high  # equal parts of signal and noise
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_still_mouths_follow_nothing() -> None:
    still = Series(real=[1.0, 2.0], made=[3.0, 3.0], lmd=[1.0, 1.0])
    empty = Series(real=[], made=[], lmd=[])
    result = compute_measures([still, empty], np.array([[1.0, 1.0], [0.0, 2.0]]))
    assert result["opening"].tolist() == [0, 0]
    assert result["lmd"].tolist() == [1, 0]


def test_the_gain_is_reached_where_it_is_said_to_be() -> None:
    rising = np.minimum(np.arange(26) / 10, 1.0)  # 0.95 lies halfway from the ninth step to the tenth
    curves = np.stack([rising, 0.3 + 0.1 * rising, -rising, np.zeros(26)])
    assert find_gain_point(curves, 1)[:2] == pytest.approx(9.5)
    assert np.isnan(find_gain_point(curves, 1)[2:]).all()  # never better than the first
    assert find_gain_point(curves, -1)[2] == pytest.approx(9.5)
    peak = np.concatenate([np.arange(6), [2.0, 1.0]])[None]
    assert find_gain_point(peak, 1).tolist() == [4.75]
    assert find_gain_point(np.array([[0.0, 1.0, 0.2]]), 1).tolist() == [0.95]


def test_the_window_is_counted_as_the_oracle_counts_it() -> None:
    rng = np.random.default_rng(5)
    curve = np.sort(rng.uniform(size=26))
    windows = (2 * np.arange(26) + 1) / 25
    assert (2 * find_gain_point(curve[None], 1)[0] + 1) / 25 == pytest.approx(find_window(windows, curve, gain=True))


def test_what_one_condition_lacks_is_dropped_from_all() -> None:
    real = np.random.default_rng(4).uniform(20, 100, (4, 468, 2))
    lost = real.copy()
    lost[2] = np.nan
    moved = real.copy()
    moved[1, MOUTH_68[3], 0] += 20.0  # one of twenty: 19 off itself, 1 off each of the others
    result, dropped = build_series(real, {"a": moved, "b": lost})
    assert dropped == 1
    assert result["a"].lmd == pytest.approx([0, (19 + 19 * 1) / 20, 0])
    assert result["b"].lmd == pytest.approx([0, 0, 0])
    assert result["a"].real == result["b"].made
    assert len(result["a"].real) == 3


def test_a_record_survives_json() -> None:
    record = ClipRecord(
        part="p", clip="c", frames=9, moments=[3], dropped=0, series={"1": Series(real=[0.1], made=[0.2], lmd=[0.3])}
    )
    assert ClipRecord.read(json.loads(json.dumps(record.document()))) == record
