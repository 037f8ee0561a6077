"""Scores and tests against closed forms and scipy, with planted raters who must not count."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from opinion_studies import answer_all, answer_trial, attentive, build_study, name_rater, write_study
from scipy import stats

from cals.errors import DataError, MediaError
from cals.evaluation.opinion.answers import Answer
from cals.evaluation.opinion.ratings import adjust_holm, compute_sign_flip_p, compute_t_quantile, estimate_mean
from cals.evaluation.opinion.report import PUBLISHED, report_study
from cals.evaluation.opinion.study import Stimulus, Study

STUDY = build_study(clips=8)
BY_METHOD = {"real": 5, "first-method": 4, "second-method": 2}


def write_answers(path: Path, answers: list[Answer], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in answers) + tail)
    return path


def by_method(one: Stimulus) -> int:
    return BY_METHOD[one.method]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", STUDY)


def test_exact_sign_flips_agree_with_scipy() -> None:
    differences = np.random.default_rng(3).normal(0.4, 1, 9)
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert compute_sign_flip_p(differences, 0) == pytest.approx(expected.pvalue, abs=1e-12)
    assert compute_sign_flip_p(np.ones(5), 0) == 2 / 2**5
    assert compute_sign_flip_p(np.zeros(4), 0) == 1
    assert np.isnan(compute_sign_flip_p(np.zeros(0), 0))


def test_drawn_sign_flips_come_near_the_exact_ones() -> None:
    differences = np.random.default_rng(4).normal(0.3, 1, 40)
    result = compute_sign_flip_p(differences, 0)
    assert result == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)
    assert compute_sign_flip_p(np.ones(40), 0) == pytest.approx(1 / 20_001)  # never 0


def test_no_difference_is_found_by_chance_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    result = [compute_sign_flip_p(rng.normal(0, 1, 10), 0) < 0.05 for _ in range(400)]
    assert np.mean(result) == pytest.approx(0.05, abs=0.03)


def test_holm_agrees_with_its_definition() -> None:
    assert adjust_holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert adjust_holm([0.6, float("nan"), 0.9])[0] == 1.0


def test_the_interval_is_as_wide_as_theory_says() -> None:
    """Raters and clips each have their own level; the mean's variance is the sum of both parts and the rest."""
    rng = np.random.default_rng(6)
    raters, clips = 30, 20
    scores = 3 + rng.normal(0, 0.5, (raters, 1)) + rng.normal(0, 0.4, (1, clips)) + rng.normal(0, 0.3, (raters, clips))
    result = estimate_mean(scores, 0)
    by_rater, by_clip = scores.mean(axis=1).var() / raters, scores.mean(axis=0).var() / clips
    rest = (scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()).var()
    half = stats.t.ppf(0.975, clips - 1) * np.sqrt((by_rater + by_clip + rest / raters / clips) * clips / (clips - 1))
    assert result.low is not None
    assert result.high is not None
    assert result.value == pytest.approx(scores.mean())
    assert (result.high - result.low) / 2 == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize("freedom", [4, 5, 9, 30, 1000])
def test_quantiles_agree_with_scipy(freedom: int) -> None:
    assert compute_t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=0.01)


def test_few_raters_have_wide_intervals_or_none() -> None:
    """Of studies with five raters, 95 % of the intervals hold; with four there is none."""
    rng, held = np.random.default_rng(7), 0
    for seed in range(200):
        scores = 3 + rng.normal(0, 0.5, (5, 1)) + rng.normal(0, 0.4, (1, 20)) + rng.normal(0, 0.3, (5, 20))
        result = estimate_mean(scores, seed)
        assert result.low is not None
        assert result.high is not None
        held += result.low <= 3 <= result.high
    assert held >= 184
    assert estimate_mean(scores[:4], 0).low is None


def test_missing_scores_are_left_out_and_one_rater_has_no_interval() -> None:
    scores = np.array([[1.0, np.nan], [3.0, 5.0]])
    assert estimate_mean(scores, 0).value == 3
    assert estimate_mean(scores[1:], 0) == (4, None, None)


def test_known_answers_give_known_scores(folder: Path) -> None:
    for number in range(8):
        write_answers(
            folder / "answers" / f"{name_rater(number)}.jsonl", answer_all(STUDY, number, attentive(by_method))
        )
    report = report_study(folder)
    for method, score in BY_METHOD.items():
        for result in report.means[method].values():
            assert tuple(result) == pytest.approx((score, score, score))
    apart = {(one.first, one.second): one for one in report.comparisons if one.question == "sync"}
    assert apart["first-method", "second-method"].difference.value == pytest.approx(2)
    assert apart["first-method", "second-method"].p == 2 / 2**8
    assert apart["first-method", "second-method"].p_holm == pytest.approx(9 * 2 / 2**8)
    text = (folder / "report.md").read_text()
    assert "Raters counted: 8; left out for catch trials: 0; left out unfinished: 0; clips: 8" in text
    for name, values in PUBLISHED.items():
        assert name in text
        assert all(f"{value:.3f}" in text for value in values)
    document = json.loads((folder / "report.json").read_text())
    assert document["means"]["second-method"]["quality"] == {"value": 2, "low": 2, "high": 2}
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(MediaError, match="--force"):
        report_study(folder)


def test_raters_who_fail_catch_trials_or_stop_do_not_count(folder: Path) -> None:
    def against(one: Stimulus) -> int:
        return 6 - BY_METHOD[one.method]

    answers = folder / "answers"
    for number in range(3):
        write_answers(answers / f"{name_rater(number)}.jsonl", answer_all(STUDY, number, attentive(by_method)))
    write_answers(answers / f"{name_rater(3)}.jsonl", answer_all(STUDY, 3, lambda one: 3))  # all alike
    write_answers(answers / f"{name_rater(4)}.jsonl", answer_all(STUDY, 4, against))  # real is bad
    write_answers(
        answers / f"{name_rater(5)}.jsonl", answer_all(STUDY, 5, attentive(against), upto=len(STUDY.names) - 1)
    )
    write_answers(answers / f"{name_rater(6)}.jsonl", answer_all(STUDY, 6, attentive(against), upto=2))
    report = report_study(folder)
    assert [rater.name for rater in report.counted] == [name_rater(number) for number in range(3)]
    assert [rater.name for rater in report.caught] == [name_rater(3), name_rater(4)]
    assert [rater.name for rater in report.unfinished] == [name_rater(5), name_rater(6)]
    assert report.means["real"]["sync"].value == 5
    assert report.everyone["real"]["sync"].value == pytest.approx((3 * 5 + 3 + 1) / 5)
    text = (folder / "report.md").read_text()
    assert "left out for catch trials: 2; left out unfinished: 2" in text
    assert f"- {name_rater(3)}: " in text
    report = report_study(folder, unfinished=True, force=True)
    assert [rater.name for rater in report.counted] == [name_rater(number) for number in (0, 1, 2, 5)]
    assert "(1 of them did not finish)" in report.format_counts()


def test_saved_files_count_once_and_damage_is_counted(folder: Path, tmp_path: Path) -> None:
    answers = answer_all(STUDY, 0, attentive(by_method))
    write_answers(folder / "answers" / f"{name_rater(0)}.jsonl", answers[:9])
    saved = write_answers(tmp_path / "saved.jsonl", answers, tail='{"study": "0123456789ab", "tri\n')
    report = report_study(folder, [saved])
    assert [rater.finished for rater in report.counted] == [True]
    assert report.damaged == 1
    assert "damaged lines of answers: 1" in report.format_counts()
    assert report.means["real"]["sync"] == (5, None, None)  # one rater: how sure that is cannot be said


def test_files_of_other_studies_and_nothing_at_all_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one rater at least"):
        report_study(folder)
    other = Study(**(vars(STUDY) | {"id": "ba9876543210"}))
    foreign = write_answers(tmp_path / "foreign.jsonl", [answer_trial(other, 0, 0, {})])
    with pytest.raises(DataError, match="ba9876543210"):
        report_study(folder, [foreign])
    with pytest.raises(DataError, match="name another"):
        report_study(folder, [tmp_path / "nowhere.jsonl"])
    assert sorted(path.name for path in folder.iterdir()) == ["answers", "key.json", "site", "study.json"]
