"""Small studies, without videos, and raters whose answers are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cals.evaluation.opinion.answers import Answer
from cals.evaluation.opinion.design import DesignConfig, draw_plans, draw_stimuli
from cals.evaluation.opinion.study import QUESTIONS, Stimulus, Study

VIDEO = np.random.default_rng(0).bytes(1000)
Rule = Callable[[Stimulus], int]
"""What a rater says of a video, to every question."""


def build_study(
    methods: tuple[str, ...] = ("real", "first-method", "second-method"), clips: int = 6, spare: int = 4, seed: int = 5
) -> Study:
    config = DesignConfig(raters=24)
    used, others = ([f"{kind}{i}" for i in range(count)] for kind, count in (("clip", clips), ("spare", spare)))
    stimuli = draw_stimuli(methods, used, others, config, seed)
    return Study(
        id="0123456789ab",
        seed=seed,
        methods=methods,
        clips=tuple(used),
        stimuli={one.blind_name(seed, "abc"): one for one in stimuli},
        plans=tuple(draw_plans(stimuli, methods, config.raters, seed)),
    )


def write_study(folder: Path, study: Study) -> Path:
    """As `make_study` does, with a page and a video of some bytes."""
    (folder / "site" / "videos").mkdir(parents=True)
    (folder / "answers").mkdir()
    (folder / "site" / "index.html").write_text("<p>a page</p>")
    (folder / "site" / "videos" / "v.mp4").write_bytes(VIDEO)
    study.write(folder)
    return folder


def name_rater(number: int) -> str:
    return f"{number:016x}"


def answer_trial(study: Study, number: int, trial: int, scores: dict[str, int]) -> Answer:
    video = study.names[study.plans[number][trial]]
    return Answer(study=study.id, rater=name_rater(number), number=number, trial=trial, video=video, scores=scores)


def answer_all(study: Study, number: int, rule: Rule, upto: int | None = None) -> list[Answer]:
    """What a rater who follows `rule` answers; everything, or the first `upto` trials."""
    return [
        answer_trial(study, number, trial, {q.key: rule(study.find_stimulus(number, trial)) for q in QUESTIONS})
        for trial in range(len(study.stimuli) if upto is None else upto)
    ]


def attentive(by_method: Callable[[Stimulus], int]) -> Rule:
    """One who passes the catch trials, and says of others what `by_method` does."""
    return lambda one: by_method(one) if one.role != "catch" else 5 if one.sound == one.clip else 1
