"""What is said of readings, against computations by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cals.evaluation.recognition import grammar
from cals.evaluation.recognition.conditions import WerConfig, build_conditions
from cals.evaluation.recognition.grammar import Grammar, choose_guess, draw_sentences, find_probable_sentence
from cals.evaluation.recognition.plot import draw_rates
from cals.evaluation.recognition.records import ClipRecord, FrameScores
from cals.evaluation.recognition.report import WerReport
from cals.evaluation.recognition.scores import Contrast, PartScores, build_contrasts
from cals.metrics.accuracy import ranking_auc
from cals.metrics.bootstrap import sample_clip_counts
from cals.metrics.reliability import bootstrap_auc
from cals.metrics.wer import compare_word_errors, edit_distance, word_error_rate
from cals.models.avsr.language import fit_ngram

pytestmark = pytest.mark.slow

SAID = ("bin red at now", "now red bin", "at now red bin now", "red")
READ = {
    "audio": ("bin red at now", "now now bin", "at", "now"),
    "video": ("bin red now", "now red bin", "at now red bin red", "blue"),
    "both": ("bin red at now", "now red bin", "at now red bin now", "red red"),
}


def clips_of(hypotheses: dict[str, Sequence[Sequence[str]]], scores: Sequence[Any] = ({},) * 4) -> PartScores:
    """One condition; a list of texts by system and clip."""
    clips = [
        ClipRecord(
            part="part",
            clip=str(i),
            said=reference,
            readings={"clean": {name: list(texts[i]) for name, texts in hypotheses.items()}},
            scores={"clean": scores[i]},
        )
        for i, reference in enumerate(SAID)
    ]
    return PartScores("part", clips, seed=3)


@pytest.fixture
def part() -> PartScores:
    return clips_of({name: [[text] for text in texts] for name, texts in READ.items()})


def test_a_rate_is_that_of_the_metric(part: PartScores) -> None:
    for name, texts in READ.items():
        assert part.rate("clean", name) == word_error_rate(list(zip(SAID, texts, strict=True)), seed=3).rate
    assert part.rate("clean", "audio").value == pytest.approx((0 + 1 + 4 + 1) / 13)


def test_the_difference_is_to_the_better_single_stream(part: PartScores) -> None:
    other, value = part.estimate_difference("clean", Contrast("both", ("audio", "video"), ""))
    # errors by clip: audio 0 1 4 1, video 1 0 1 1, both 0 0 0 1, of 13 words
    assert other == "video"
    assert value.value == pytest.approx((-1 + 0 - 1 + 0) / 13)
    video, both = (list(zip(SAID, READ[name], strict=True)) for name in ("video", "both"))
    assert value == compare_word_errors(video, both, seed=3)
    assert value.low is not None
    assert value.high is not None
    assert value.low < value.value < value.high <= 0


def test_readings_of_seeds_and_networks_are_averaged() -> None:
    pairs = [[*texts] for texts in zip(READ["audio"], READ["video"], strict=True)]
    both = clips_of({"twins": pairs})
    assert both.count_errors("clean", "twins").tolist() == [0.5, 0.5, 2.5, 1.0]
    assert both.rate("clean", "twins").value == pytest.approx(4.5 / 13)


@dataclass(frozen=True)
class FakeSystem:
    """What contrasts ask of a system."""

    name: str
    streams: str = "both"
    has_scores: bool = False
    networks: tuple[int, ...] = (0,)
    is_withheld: bool = False


def test_what_is_compared_with_what() -> None:
    both, scores = FakeSystem("both"), FakeSystem("scores", has_scores=True, networks=(1,))
    audio, video = FakeSystem("audio", "audio", networks=(2,)), FakeSystem("video", "video", networks=(3,))
    blind = FakeSystem("both, audio only", "audio", networks=both.networks, is_withheld=True)

    def others(*systems: FakeSystem) -> dict[str, list[tuple[str, ...]]]:
        found: dict[str, list[tuple[str, ...]]] = {}
        for contrast in build_contrasts(systems):  # type: ignore[arg-type]
            found.setdefault(contrast.system, []).append(contrast.others)
        return found

    singles = ("audio", "video")
    assert others(both, scores, audio, video, blind) == {"both": [singles], "scores": [singles, ("both",)]}
    assert others(both, blind, audio) == {"both": [("both, audio only",)]}
    assert others(audio, video) == {}
    assert others(scores, both) == {"scores": [("both",)]}


def test_auc_ranks_the_frames_of_all_clips() -> None:
    rng = np.random.default_rng(0)
    clips = [(np.round(rng.random(9), 1).astype(np.float32), rng.random(9) < share) for share in (0.3, 0.6, 0.0, 1.0)]
    found = bootstrap_auc(clips, seed=5)
    for row, counts in list(enumerate(sample_clip_counts(len(clips), 5)))[:60]:
        scores, corrupted = (
            np.concatenate([one for clip, count in zip(clips, counts, strict=True) for one in [clip[k]] * int(count)])
            for k in (0, 1)
        )
        assert found[row] == pytest.approx(ranking_auc(1 - scores, corrupted), nan_ok=True)
    assert np.isnan(bootstrap_auc([clips[2]])).all()


def test_scores_of_each_network_are_ranked_by_themselves() -> None:
    """Networks that trust at different levels do not spoil each other's AUC."""

    def trust(level: float) -> FrameScores:
        return FrameScores(scores=[level + 0.05, level, level + 0.05, level + 0.05], bursts=[(1, 2)])

    of_clip = {"twins": {"audio": [trust(0.1), trust(0.8)]}}
    part = clips_of({"twins": [["", ""]] * 4}, [of_clip] * 4)
    twins = FakeSystem("twins", has_scores=True, networks=(1, 2))
    auc = part.estimate_auc("clean", twins, "audio")  # type: ignore[arg-type]
    assert auc is not None
    assert (auc.value, auc.low, auc.high) == (1, 1, 1)
    assert part.estimate_auc("clean", twins, "video") is None  # type: ignore[arg-type]


def test_the_grammar_against_all_its_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences of a toy language model, every one of them with its probability."""
    monkeypatch.setattr(grammar, "LONGEST", 8)
    symbols = {1: "a", 2: "b", 3: "c"}
    language = fit_ngram([[1, 2, 3]] * 20 + [[1, 3, 3]] * 12 + [[2, 1]] * 9, 3, 5)
    probability = {sentence: 1.0 for length in range(5) for sentence in product(symbols, repeat=length)}
    for sentence in probability:
        line = torch.tensor([4, *sentence, 4])
        for place in range(1, len(line)):
            probability[sentence] *= float(language.next_log_probs(line[None, :place])[0, line[place]].exp())
    whole = sum(probability.values())
    assert 0.9 < whole < 1

    def text(sentence: Sequence[int]) -> str:
        return " ".join(symbols[token] for token in sentence)

    best = max((sentence for sentence in probability if sentence), key=lambda sentence: probability[sentence])
    assert find_probable_sentence(language) == best
    drawn = [text(sentence) for sentence in draw_sentences(language, 0, 4000)]
    reference = "a b c"
    expected = sum(p * edit_distance(reference.split(), text(s).split()).errors for s, p in probability.items()) / whole
    errors = Grammar(probable=text(best), guess="b", drawn=tuple(drawn)).count_errors(reference)
    assert errors[:2] == (edit_distance(reference.split(), text(best).split()).errors, 2)
    assert errors[2] == pytest.approx(expected, abs=0.1)

    def risk(guess: str) -> float:
        return sum(p * edit_distance(text(s).split(), guess.split()).errors for s, p in probability.items())

    guesses = [text(sentence) for sentence in probability if len(sentence) < 4]
    assert choose_guess(guesses, drawn[:400]) == min(guesses, key=risk)


def test_silence_is_not_the_most_probable_sentence() -> None:
    """Smoothing leaves it more than any of many sentences has, but it says nothing."""
    language = fit_ngram([[1, 2, 3, 4], [4, 2, 1], [3, 4, 2, 1], [2, 2, 4]], 3, 6)
    silent_log_prob = float(language.next_log_probs(torch.tensor([[5]]))[0, 5])
    sentence = find_probable_sentence(language)
    line = [5, *sentence, 5]
    log_prob = sum(float(language.next_log_probs(torch.tensor([line[:n]]))[0, line[n]]) for n in range(1, len(line)))
    assert silent_log_prob > log_prob
    assert len(sentence) > 0


def test_a_plot_of_an_odd_number_of_kinds(tmp_path: Path) -> None:
    """Five panels a part: four and one in a row."""
    config = WerConfig(kinds=("babble", "dropout", "patch", "noise", "blur"))
    conditions, systems = build_conditions(config), [FakeSystem("one"), FakeSystem("other")]
    readings = {one.name: {system.name: ["now red bin"] for system in systems} for one in conditions}
    clips = [
        ClipRecord(part=part, clip=str(i), said=reference, readings=readings, scores={})
        for part in ("seen", "unseen")
        for i, reference in enumerate(SAID)
    ]
    grammars = {system.name: Grammar(probable="red", guess="red", drawn=("red",)) for system in systems}
    report = WerReport({}, systems, conditions, grammars, clips)  # type: ignore[arg-type]
    kinds = [("audio", "babble"), ("video", "patch"), ("video", "noise"), ("video", "blur"), ("both", "any")]
    assert list(report.curves) == kinds
    assert [one.strength for one in report.curves["audio", "babble"]] == sorted(config.snrs_db)
    draw_rates(tmp_path / "wer.png", report)
    picture = cv2.imread(str(tmp_path / "wer.png"))
    panels = [np.array_split(row, 4, axis=1) for row in np.array_split(picture, 4)]
    drawn = [[panel.min() < 128 for panel in row] for row in panels]
    assert drawn == [[True] * 4, [True, False, False, False]] * 2
