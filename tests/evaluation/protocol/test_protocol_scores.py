"""From records to tables: the same frames for everyone, failures, means and their intervals."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cals.evaluation.protocol.comparison import MEASURES, Table, build_tables, score_pair
from cals.evaluation.protocol.frame_records import FrameRecord
from cals.evaluation.protocol.pairs import Pair
from cals.evaluation.protocol.report import format_rows
from cals.metrics.bootstrap import estimate_mean

FRAMES = 60
PAIR = Pair(id="self-a", part="all", kind="self", face="a", heard="a", video="a.mp4")


def record(seed: int = 0, gone: tuple[int, ...] = (), lag: int = 0, **values: float) -> FrameRecord:
    """Random curves; sound and lips fit best at a shift of `lag` frames."""
    rng = np.random.default_rng(seed)
    valid = np.ones(FRAMES, bool)
    valid[list(gone)] = False
    names = ("psnr", "ssim", "psnr_lips", "ssim_lips", "wrapped_psnr", "identity", "opening", "width")
    columns = {name: rng.normal(size=FRAMES) for name in names}
    columns |= {"energy": np.full(FRAMES, 2.0), "true_energy": np.full(FRAMES, 4.0), "silent": np.arange(FRAMES) < 10.0}
    columns = {name: np.where(valid, column, np.nan) for name, column in columns.items()}
    for name, value in values.items():
        columns[name][valid] = value
    distances = rng.uniform(1.1, 1.2, (FRAMES, 31)).astype(np.float32)
    distances[:, 15 + lag] = 0.5
    distances[:15] = distances[-15:] = np.nan
    return FrameRecord(
        key={},
        valid=valid,
        values=columns,
        lips=rng.normal(size=(FRAMES, 20, 2)),
        dlib_lips=np.full((FRAMES, 20, 2), np.nan),
        frame_of=np.arange(FRAMES),
        distances=distances,
        features=rng.normal(size=(FRAMES // 5, 3)).astype(np.float32),
    )


def test_frames_that_one_lacks_are_dropped_for_all() -> None:
    good, bad = record(1, psnr=30.0), record(2, gone=(4, 5))
    good.values["psnr"][4:6] = 0  # where the other one has no face
    result, features = score_pair(PAIR, {"real": record(0, gone=(59,)), "good": good, "bad": bad}, {}, "")
    assert (result.frames, result.used) == (60, 57)
    assert result.without_face == {"real": 1, "good": 0, "bad": 2}
    assert result.scores["good"]["psnr"] == 30
    assert {name: len(generated) for name, (generated, _) in features.items()} == {"good": 9, "bad": 9}  # of 12 windows


def test_a_method_without_enough_frames_fails_and_costs_nothing() -> None:
    short = record(2, gone=tuple(range(10, 50)))
    result, features = score_pair(
        PAIR, {"real": record(0), "good": record(1), "short": short}, {"none": "no video"}, ""
    )
    assert result.used == 60
    assert set(result.scores) == {"real", "good"}
    assert result.failed.keys() == {"short", "none"}
    assert "20 of 60" in result.failed["short"]
    assert set(features) == {"good"}


def test_methods_that_share_no_frames_leave_the_pair_out() -> None:
    halves = {"a": record(1, gone=tuple(range(30))), "b": record(2, gone=tuple(range(30, 60)))}
    result, features = score_pair(PAIR, {"real": record(0)} | halves, {}, "")
    assert result.scores == features == {}
    assert "0 of 60" in result.left_out


def test_a_copy_of_the_real_clip_is_perfect() -> None:
    real = record(0)
    result, _ = score_pair(PAIR, {"real": real, "same": replace(real, key={"a": 1})}, {}, "")
    output = result.scores["same"]
    perfect = {"lmd": 0, "opening": 1, "width": 1, "jitter": 1, "silence": 0, "offset": 0, "in_step": 1}
    assert {name: output[name] for name in perfect} == pytest.approx(perfect)
    assert output["sharpness"] == 0.5
    assert "psnr" not in result.scores["real"]  # equal pictures would say nothing


def test_dlibs_points_have_a_distance_of_their_own() -> None:
    """One point of 20 that is 2 px off moves the mean place by 0.1 px, in each frame that counts."""
    real, generated = (replace(record(seed, gone=(7,)), dlib_lips=np.zeros((FRAMES, 20, 2))) for seed in (0, 1))
    generated.dlib_lips[:, 3, 0] = 2
    generated.dlib_lips[7] = np.nan
    result, _ = score_pair(
        PAIR, {"real": real, "made": generated, "copy": replace(record(2), dlib_lips=real.dlib_lips)}, {}, ""
    )
    assert result.scores["made"]["lmd_dlib"] == pytest.approx((1.9 + 19 * 0.1) / 20)
    assert result.scores["copy"]["lmd_dlib"] == 0
    without, _ = score_pair(PAIR, {"real": record(0), "made": record(1)}, {}, "")
    assert "lmd_dlib" not in without.scores["made"]


def test_cross_driven_pairs_are_judged_by_sound_and_person_only() -> None:
    cross = replace(PAIR, kind="cross")
    real = replace(record(0), distances=np.full((FRAMES, 31), np.nan, np.float32))
    result, _ = score_pair(cross, {"real": real, "late": record(1, lag=3)}, {}, "")
    assert result.scores["late"].keys() == {"identity", "lse_d", "lse_c", "offset", "in_step"}
    assert result.scores["late"]["offset"] == 3
    assert result.scores["late"]["in_step"] == 0
    assert result.scores["real"].keys() == {"identity"}


def test_windows_with_a_dropped_frame_are_not_heard() -> None:
    spoilt = record(1)
    spoilt.distances[28:33] = 9  # the windows that hold frame 30
    result, _ = score_pair(PAIR, {"real": record(0), "a": spoilt, "b": record(2, gone=(30,))}, {}, "")
    assert result.scores["a"]["lse_d"] == pytest.approx(0.5)
    alone, _ = score_pair(PAIR, {"real": record(0), "a": spoilt}, {}, "")
    assert alone.scores["a"]["lse_d"] > 1


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    result = estimate_mean(values, seed=1)
    assert result.value == pytest.approx(values.mean())
    assert result.low is not None
    assert result.high is not None
    margin = 1.96 * values.std() / 20  # the normal approximation
    assert (result.value - result.low, result.high - result.value) == pytest.approx((margin, margin), rel=0.1)
    assert result == estimate_mean(values, seed=1)
    assert estimate_mean(np.array([2.0])) == (2.0, None, None)
    assert math.isnan(estimate_mean(np.zeros(0)).value)


def two_pairs() -> list[Table]:
    results, features = [], {}
    for number, psnr in enumerate((20.0, 30.0)):
        pair = replace(PAIR, id=f"self-{number}")
        records = {"real": record(0), "a": record(1, psnr=psnr, energy=4.4), "b": record(2, psnr=psnr + 1, energy=8.0)}
        records |= {} if number else {"c": record(3, psnr=99, energy=4.0)}
        result, features[pair.id] = score_pair(pair, records, {"c": "no video"} if number else {}, "")
        results.append(result)
    return build_tables(results, features, ("real", "a", "b", "c"), seed=0)


def test_tables_have_means_failures_and_the_best() -> None:
    (table,) = two_pairs()
    assert (table.pairs, table.judged) == (2, 2)
    assert table.rows["a"]["psnr"].estimate.value == 25
    assert table.rows["a"]["psnr"].values == (20, 30)
    assert table.failed == {"a": 0, "b": 0, "c": 1}
    assert table.find_best("psnr") == {"b"}  # c has the easier half only
    assert format_rows(table)[0] == ["PSNR", "", "25.00 (20.00 to 30.00)", "26.00 (21.00 to 31.00)", "99.00 (1 clip)"]
    assert table.find_best("sharpness") == {"a"}  # 1.1 is nearer to 1 than 2
    assert table.frechet["a"][1] == 24
    assert table.frechet["a"][0] > 0
    assert table.nearest == {min("ab", key=lambda name: table.frechet[name][0])}


def test_a_method_that_failed_everywhere_keeps_its_column() -> None:
    result, features = score_pair(PAIR, {"real": record(0), "a": record(1)}, {"b": "no video"}, "")
    (table,) = build_tables([result], {PAIR.id: features}, ("real", "a", "b"), seed=0)
    assert table.rows["b"] == {}
    assert format_rows(table)[-1] == ["failed pairs", "0", "0", "1"]
    assert set(table.rows["a"]) == {name for name, one in MEASURES.items() if "self" in one.kinds} - {"lmd_dlib"}
