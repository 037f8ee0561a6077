"""Who sees what when: the Latin square holds exactly, and nothing of a video's name or place tells its method."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from opinion_studies import build_study

from cals.errors import ConfigError, DataError
from cals.evaluation.opinion.design import DesignConfig, build_latin_square, draw_plans, draw_stimuli
from cals.evaluation.opinion.study import Plan, Study, read_study


@pytest.mark.parametrize("size", range(1, 8))
def test_every_method_has_every_place_and_every_neighbour_equally_often(size: int) -> None:
    square = build_latin_square(size)
    assert len(square) == (2 * size if size % 2 and size > 1 else size)
    assert all(sorted(row) == list(range(size)) for row in square)
    for column in zip(*square, strict=True):
        assert set(Counter(column).values()) == {len(square) // size}
    follows = Counter(pair for row in square for pair in pairwise(row))
    assert len(follows) == size * (size - 1)
    assert len(set(follows.values())) <= 1


def trials_of(study: Study, plan: Plan) -> list[tuple[str, str]]:
    shown = [study.stimuli[study.names[number]] for number in plan]
    return [(one.clip, one.method) for one in shown if one.role == "trial"]


@pytest.mark.parametrize("methods", [("real", "a"), ("real", "a", "b"), ("real", "a", "b", "c")])
def test_plans_are_balanced(methods: tuple[str, ...]) -> None:
    study = build_study(methods, clips=6)
    rows = len(build_latin_square(len(methods)))
    places: Counter[tuple[str, str, int]] = Counter()
    for plan in study.plans[: 2 * rows]:
        trials = trials_of(study, plan)
        blocks = [trials[start : start + 6] for start in range(0, len(trials), 6)]
        assert len(blocks) == len(methods)
        for place, block in enumerate(blocks):
            assert len({clip for clip, _ in block}) == 6  # every clip once in every block
            places.update((clip, method, place) for clip, method in block)
        assert len(set(trials)) == 6 * len(methods)
        assert all(before[0] != after[0] for before, after in pairwise(trials))
    # Over raters each clip's methods have each place exactly equally often.
    assert len(places) == 6 * len(methods) ** 2
    assert set(places.values()) == {2 * rows // len(methods)}


def test_within_a_rater_places_are_balanced_too() -> None:
    study = build_study(("real", "a", "b"), clips=6)
    for plan in study.plans:
        trials = trials_of(study, plan)
        for start in range(0, len(trials), 6):
            assert set(Counter(method for _, method in trials[start : start + 6]).values()) == {2}


def test_a_plan_has_all_videos_once_practice_first_and_catches_apart() -> None:
    study = build_study()
    assert len(study.stimuli) == 6 * 3 + 3 + 4
    for number, plan in enumerate(study.plans):
        assert sorted(plan) == list(range(len(study.stimuli)))
        roles = [study.find_stimulus(number, trial).role for trial in range(len(plan))]
        assert roles[:3] == ["practice"] * 3
        assert "practice" not in roles[3:]
        at = [place for place, role in enumerate(roles) if role == "catch"]
        assert len(at) == 4
        assert all(later - earlier > 1 for earlier, later in pairwise(at))
        assert at[0] > 3
    assert len({tuple(plan) for plan in study.plans}) == len(study.plans)


def test_catch_trials_are_a_real_video_and_one_with_another_sound() -> None:
    study = build_study()
    catches = [one for one in study.stimuli.values() if one.role == "catch"]
    assert {one.method for one in catches} == {"real"}
    pairs = {one.clip: [other.sound == other.clip for other in catches if other.clip == one.clip] for one in catches}
    assert all(sorted(both) == [False, True] for both in pairs.values())
    assert len(pairs) == 2
    away = [one for one in study.stimuli.values() if one.role != "trial"]
    assert {one.clip for one in away} <= {f"spare{i}" for i in range(4)} | {"clip0"} | set(study.clips)
    assert not {one.clip for one in away[:3]} & set(study.clips)  # of clips that do not count, while there are any


def test_names_depend_on_the_seed_alone() -> None:
    first, again, other = build_study(seed=5), build_study(seed=5), build_study(seed=6)
    assert first == again
    assert not set(first.stimuli) & set(other.stimuli)
    assert len(first.stimuli) == len(set(first.names))


def test_few_clips_are_enough() -> None:
    config = DesignConfig(catch=2, practice=4)
    stimuli = draw_stimuli(("real", "a"), ["x", "y"], [], config, 0)
    assert len({one.blind_name(0, "abc") for one in stimuli}) == len(stimuli) == 4 + 4 + 4
    for plan in draw_plans(stimuli, ("real", "a"), 8, 0):
        assert sorted(plan) == list(range(12))


@pytest.mark.parametrize(
    ("config", "methods", "clips", "says"),
    [
        (DesignConfig(catch=1), ("a", "b"), 3, "called real"),
        (DesignConfig(catch=4), ("real", "a"), 3, "at most as many as clips"),
        (DesignConfig(catch=1, practice=0), ("real", "a"), 1, "2 clips at least"),
        (DesignConfig(catch=0, practice=7), ("a", "b"), 3, "at most 6"),
    ],
)
def test_what_cannot_be_drawn_is_said(config: DesignConfig, methods: tuple[str, ...], clips: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        draw_stimuli(methods, [f"clip{i}" for i in range(clips)], [], config, 0)
    with pytest.raises(ConfigError, match="0 or more"):
        DesignConfig(catch=-1)


def test_a_study_is_read_as_it_was_written(tmp_path: Path) -> None:
    study = build_study()
    study.write(tmp_path)
    assert read_study(tmp_path) == study
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(DataError, match="other videos"):
        read_study(tmp_path)
    (tmp_path / "key.json").unlink()
    with pytest.raises(DataError, match="cals study make"):
        read_study(tmp_path)
