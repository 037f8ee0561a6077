"""From readings to figures with intervals: error rates, paired differences, how well scores tell corrupted frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from cals.evaluation.recognition.grammar import Grammar, count_grammar_errors
from cals.evaluation.recognition.records import ClipRecord
from cals.evaluation.recognition.systems import System
from cals.metrics.bootstrap import F64, Estimate, estimate, share_estimate
from cals.metrics.reliability import auc_replicates
from cals.metrics.wer import Edits, edit_distance
from cals.models.avsr.network import STREAMS


class Contrast(NamedTuple):
    """A system, and those that it is compared with: the best of them under each condition."""

    system: str
    others: tuple[str, ...]
    title: str


class Difference(NamedTuple):
    """How much higher a system's error rate is than another one's, on the same clips."""

    other: str
    value: Estimate


@dataclass(frozen=True)
class PartScores:
    """What the clips of one part say."""

    part: str
    clips: Sequence[ClipRecord]
    seed: int
    """Of the bootstrap."""

    @cached_property
    def words(self) -> F64:
        """Said in each clip, [n]."""
        return np.array([len(clip.said.split()) for clip in self.clips], dtype=np.float64)

    def edits(self, condition: str, system: str, which: slice = slice(None)) -> F64:
        """[n 3] Substitutions, insertions and deletions of each clip, mean over seeds and networks (or `which`)."""
        found = [
            np.mean([_count_edits(clip.said, text) for text in clip.readings[condition][system][which]], axis=0)
            for clip in self.clips
        ]
        return np.array(found, dtype=np.float64).reshape(-1, 3)

    def errors(self, condition: str, system: str) -> F64:
        """[n] Word errors of each clip, mean over seeds and networks."""
        return np.asarray(self.edits(condition, system).sum(axis=1))

    def rate(self, condition: str, system: str) -> Estimate:
        """The word error rate: errors over words, both summed over the clips."""
        return share_estimate(self.errors(condition, system), self.words, self.seed)

    def network_rates(self, condition: str, system: System) -> list[float]:
        """The word error rate of each network by itself."""
        count = len(system.networks)
        edits = [self.edits(condition, system.name, slice(number, None, count)) for number in range(count)]
        return [share_estimate(of_one.sum(axis=1), self.words, self.seed).value for of_one in edits]

    def grammar_rates(self, grammar: Grammar) -> list[Estimate]:
        """Expected error rates of what the language model says by itself, in the order of `grammar.ROWS`."""
        errors = count_grammar_errors(grammar, [clip.said for clip in self.clips])
        return [share_estimate(column, self.words, self.seed) for column in errors.T]

    def difference(self, condition: str, contrast: Contrast) -> Difference:
        """The error rate of a system less that of the best of the others, paired by clip."""
        sums = {name: self.errors(condition, name).sum() for name in contrast.others}
        other = min(sums, key=lambda name: sums[name])
        more = self.errors(condition, contrast.system) - self.errors(condition, other)
        return Difference(other, share_estimate(more, self.words, self.seed))

    def auc(self, condition: str, system: System, stream: str) -> Estimate | None:
        """How often a corrupted frame is trusted less than another one; None where the stream is not corrupted.

        Of several networks the mean: the scores of each are ranked by themselves.
        """
        found = [clip.scores.get(condition, {}).get(system.name, {}).get(stream, []) for clip in self.clips]
        if not any(found):
            return None
        count, replicates = len(system.networks), []
        for number in range(count):
            arrays = [[one.arrays() for one in of_clip[number::count]] for of_clip in found if of_clip]
            joined = [(np.concatenate([a for a, _ in one]), np.concatenate([b for _, b in one])) for one in arrays]
            replicates.append(auc_replicates(joined, self.seed))
        return estimate(np.mean(replicates, axis=0), sum(map(bool, found)))

    def ratio(self, condition: str, other: str, system: str) -> Estimate:
        """The error rate under one condition over that under another one; NaN where nothing is read wrong there."""
        return share_estimate(self.errors(condition, system), self.errors(other, system), self.seed)

    def change(self, condition: str, other: str, system: str) -> Estimate:
        """The error rate under one condition less that under another one, paired by clip."""
        more = self.errors(condition, system) - self.errors(other, system)
        return share_estimate(more, self.words, self.seed)


@lru_cache(maxsize=1 << 16)
def _count_edits(said: str, read: str) -> Edits:
    return edit_distance(said.split(), read.split())


def build_contrasts(systems: Sequence[System]) -> list[Contrast]:
    """Each audio-visual system against the better single stream, and each that scores against each that does not.

    Single streams are those of systems made for one; where there are none of both kinds, the system itself with the
    other stream withheld.
    """
    whole = [system for system in systems if system.streams == "both"]
    made = [system for system in systems if system.streams != "both" and not system.is_withheld]
    found = []
    for system in whole:
        withheld = [one for one in systems if one.is_withheld and one.networks is system.networks]
        singles = made if {one.streams for one in made} == set(STREAMS) else withheld
        if singles:
            names = tuple(one.name for one in singles)
            found.append(Contrast(system.name, names, f"{system.name} - better single stream"))
    for system in (one for one in whole if one.has_scores):
        found += [
            Contrast(system.name, (other.name,), f"{system.name} - {other.name}")
            for other in whole
            if not other.has_scores
        ]
    return found


def is_number(found: Estimate) -> bool:
    """Whether there is anything to say."""
    return not math.isnan(found.value)
