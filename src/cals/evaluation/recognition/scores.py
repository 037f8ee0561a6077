"""Figures with intervals from readings: error rates, paired differences, AUC of the reliability scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from cals.evaluation.recognition.grammar import Grammar, count_grammar_errors
from cals.evaluation.recognition.records import ClipRecord
from cals.evaluation.recognition.systems import System
from cals.metrics.bootstrap import F64, Estimate, estimate_interval, estimate_ratio
from cals.metrics.reliability import bootstrap_auc
from cals.metrics.wer import Edits, edit_distance
from cals.models.avsr.network import STREAMS


class Contrast(NamedTuple):
    """A system, and those with which it is compared: the best of them under each condition."""

    system: str
    others: tuple[str, ...]
    title: str


class Difference(NamedTuple):
    """Error rate of a system minus that of another one, on the same clips."""

    other: str
    value: Estimate


@dataclass(frozen=True)
class PartScores:
    """Figures of the clips of one part."""

    part: str
    clips: Sequence[ClipRecord]
    seed: int
    """Seed of the bootstrap."""

    @cached_property
    def words(self) -> F64:
        """Reference words of each clip, [n]."""
        return np.array([len(clip.said.split()) for clip in self.clips], dtype=np.float64)

    def count_edits(self, condition: str, system: str, which: slice = slice(None)) -> F64:
        """Return substitutions, insertions, deletions of each clip, [n 3], mean over seeds and networks (or
        `which`)."""
        edits = [
            np.mean([_count_edits(clip.said, text) for text in clip.readings[condition][system][which]], axis=0)
            for clip in self.clips
        ]
        return np.array(edits, dtype=np.float64).reshape(-1, 3)

    def count_errors(self, condition: str, system: str) -> F64:
        """Return word errors of each clip, [n], mean over seeds and networks."""
        return np.asarray(self.count_edits(condition, system).sum(axis=1))

    def rate(self, condition: str, system: str) -> Estimate:
        """Estimate the word error rate: errors over words, both summed over the clips."""
        return estimate_ratio(self.count_errors(condition, system), self.words, self.seed)

    def compute_network_rates(self, condition: str, system: System) -> list[float]:
        """Return the word error rate of each network by itself."""
        count = len(system.networks)
        edits = [self.count_edits(condition, system.name, slice(number, None, count)) for number in range(count)]
        return [estimate_ratio(of_one.sum(axis=1), self.words, self.seed).value for of_one in edits]

    def estimate_grammar_rates(self, grammar: Grammar) -> list[Estimate]:
        """Estimate the error rates of the language model by itself, in the order of `grammar.ROWS`."""
        errors = count_grammar_errors(grammar, [clip.said for clip in self.clips])
        return [estimate_ratio(column, self.words, self.seed) for column in errors.T]

    def estimate_difference(self, condition: str, contrast: Contrast) -> Difference:
        """Estimate the error rate of a system minus that of the best of the others, paired by clip."""
        sums = {name: self.count_errors(condition, name).sum() for name in contrast.others}
        other = min(sums, key=lambda name: sums[name])
        difference = self.count_errors(condition, contrast.system) - self.count_errors(condition, other)
        return Difference(other, estimate_ratio(difference, self.words, self.seed))

    def estimate_auc(self, condition: str, system: System, stream: str) -> Estimate | None:
        """Estimate how often a corrupted frame is trusted less than another one; None for a stream that is not
        corrupted.

        Of several networks the mean: the scores of each are ranked by themselves.
        """
        clips = [clip.scores.get(condition, {}).get(system.name, {}).get(stream, []) for clip in self.clips]
        if not any(clips):
            return None
        count, replicates = len(system.networks), []
        for number in range(count):
            arrays = [[one.arrays() for one in of_clip[number::count]] for of_clip in clips if of_clip]
            joined = [(np.concatenate([a for a, _ in one]), np.concatenate([b for _, b in one])) for one in arrays]
            replicates.append(bootstrap_auc(joined, self.seed))
        return estimate_interval(np.mean(replicates, axis=0), sum(map(bool, clips)))

    def ratio(self, condition: str, other: str, system: str) -> Estimate:
        """Estimate the ratio of the error rates under two conditions; NaN where the other one is 0."""
        return estimate_ratio(self.count_errors(condition, system), self.count_errors(other, system), self.seed)

    def change(self, condition: str, other: str, system: str) -> Estimate:
        """Estimate the error rate under one condition minus that under another one, paired by clip."""
        difference = self.count_errors(condition, system) - self.count_errors(other, system)
        return estimate_ratio(difference, self.words, self.seed)


@lru_cache(maxsize=1 << 16)
def _count_edits(reference: str, hypothesis: str) -> Edits:
    return edit_distance(reference.split(), hypothesis.split())


def build_contrasts(systems: Sequence[System]) -> list[Contrast]:
    """Compare each audio-visual system with the better single stream, and those with scores with those without.

    Single streams are those of systems made for one; where there are none of both kinds, the system itself with the
    other stream withheld.
    """
    audio_visual = [system for system in systems if system.streams == "both"]
    single_stream = [system for system in systems if system.streams != "both" and not system.is_withheld]
    contrasts = []
    for system in audio_visual:
        withheld = [one for one in systems if one.is_withheld and one.networks is system.networks]
        singles = single_stream if {one.streams for one in single_stream} == set(STREAMS) else withheld
        if singles:
            names = tuple(one.name for one in singles)
            contrasts.append(Contrast(system.name, names, f"{system.name} - better single stream"))
    for system in (one for one in audio_visual if one.has_scores):
        contrasts += [
            Contrast(system.name, (other.name,), f"{system.name} - {other.name}")
            for other in audio_visual
            if not other.has_scores
        ]
    return contrasts


def is_number(found: Estimate) -> bool:
    """Tell whether an estimate has a value."""
    return not math.isnan(found.value)
