"""Readings of the lip reader by clip, and their report: accuracy, and its ratio to that on real mouths."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from cals.evaluation.outputs import COPY, REAL
from cals.metrics.bootstrap import Estimate, estimate_ratio
from cals.models.reader import ReaderConfig
from cals.report.tables import format_settings, format_table

BLANKED, SHUFFLED = "blanked", "shuffled"
BASELINES = (REAL, BLANKED, COPY, SHUFFLED)
ALL = "all"
"""All slots together."""
PUBLISHED_RATIO = 0.977
"""Accuracy on generated over accuracy on real, as the paper reports it for another reader and corpus."""
LEGEND = """\
- `real`: the clip itself. `blanked`: the same with each word's own frames hidden: what its times and the context frames
  give away. `copy`: every mouth drawn by lot from the clip. `shuffled`: real mouths read at the times of another
  sentence of the part, as if they said that one. Others: the clip's own sound drives its face.
- accuracy: share of words read right among the whole vocabulary; in slot: among the words that fit in that place of the
  sentence. of real: accuracy over that on `real`, on the same words. In brackets: 95 % bootstrap interval over clips.
"""


class Reading(NamedTuple):
    """One spoken word, and the prediction: of the whole vocabulary, and among its slot's words."""

    target: str
    pred: str
    in_slot: str


@dataclass(frozen=True, kw_only=True)
class ClipReading:
    """Readings of one clip."""

    part: str
    clip: str
    left_out: int
    """Words without a face in one of their frames, for at least one method: left out for all of them."""
    readings: dict[str, list[Reading]]
    """By method: `BASELINES` and the models. The words of all but `shuffled` are the same."""

    @staticmethod
    def from_document(document: dict[str, Any]) -> "ClipReading":
        """Parse a document: the inverse of `asdict` and JSON."""
        readings = {method: [Reading(*word) for word in words] for method, words in document["readings"].items()}
        return ClipReading(**(document | {"readings": readings}))


class Score(NamedTuple):
    """Score of one part, slot and method."""

    part: str
    slot: str
    method: str
    words: int
    accuracy: Estimate
    of_real: Estimate
    """NaN for real mouths and for shuffled ones, or where no real one was read correctly."""
    in_slot: Estimate


@dataclass
class ReadabilityReport:
    """Readings of all clips, and the tables made of them."""

    settings: dict[str, Any]
    reader: ReaderConfig
    clips: list[ClipReading] = field(default_factory=list)
    without_words: dict[str, int] = field(default_factory=dict)
    """Clips by part whose words are not known."""
    seed: int = 0

    @property
    def methods(self) -> tuple[str, ...]:
        """Real, baselines, models: those that were read."""
        return tuple(dict.fromkeys(method for clip in self.clips for method in clip.readings))

    def compute_scores(self) -> list[Score]:
        """Compute the score of every part and method, for all words and by slot."""
        slots = (ALL, *self.reader.slots)
        parts = dict.fromkeys(clip.part for clip in self.clips)
        scores = [
            self._compute_score(part, slot, method) for part in parts for slot in slots for method in self.methods
        ]
        return [score for score in scores if score.words]

    def _compute_score(self, part: str, slot: str, method: str) -> Score:
        clips = [clip for clip in self.clips if clip.part == part]
        total, correct, correct_in_slot = self._count_words(clips, slot, method).T
        _, correct_real, _ = self._count_words(clips, slot, REAL).T
        # The real mouth is the measure itself, and the shuffled one was asked for other words.
        of_real = Estimate(math.nan) if method in (REAL, SHUFFLED) else estimate_ratio(correct, correct_real, self.seed)
        accuracy, in_slot = (estimate_ratio(count, total, self.seed) for count in (correct, correct_in_slot))
        return Score(part, slot, method, int(total.sum()), accuracy, of_real, in_slot)

    def _count_words(self, clips: Sequence[ClipReading], slot: str, method: str) -> np.ndarray:
        """Count per clip [n 3]: words, those read correctly, and those read correctly among their slot's words."""
        slot_of = self.reader.slot_of
        rows = []
        for clip in clips:
            words = [word for word in clip.readings.get(method, []) if slot in (ALL, slot_of[word.target])]
            rows.append([len(words), sum(w.pred == w.target for w in words), sum(w.in_slot == w.target for w in words)])
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def format_tables(self) -> str:
        """Format all words by method, then by slot, then the counts: text that is Markdown too."""
        scores = self.compute_scores()

        def values(s: Score) -> list[str]:
            return [s.method, str(s.words), *map(_format_percent, (s.accuracy, s.of_real, s.in_slot))]

        overall = [[s.part, *values(s)] for s in scores if s.slot == ALL]
        by_slot = [[s.part, s.slot, *values(s)] for s in scores if s.slot != ALL]
        head = ["words", "accuracy", "of real", "in slot"]
        return "\n\n".join(
            [
                format_table(["part", "read from", *head], overall),
                format_table(["part", "slot", "read from", *head], by_slot),
                self.format_counts(),
            ]
        )

    def format_counts(self) -> str:
        """Format the numbers of words that were read and left out."""
        read = sum(len(clip.readings.get(REAL, [])) for clip in self.clips)
        left_out = sum(clip.left_out for clip in self.clips)
        unknown = ", ".join(f"{count} clips of {part}" for part, count in self.without_words.items() if count)
        return (
            f"{read} words of {len(self.clips)} clips read; {left_out} left out for want of a face; published ratio "
            f"{100 * PUBLISHED_RATIO:.1f} % (another reader, another corpus)"
            + (f"; without known words: {unknown}" if unknown else "")
        )

    def document(self) -> dict[str, Any]:
        """Return a JSON document."""
        scores = [
            score._asdict()
            | {name: _describe_estimate(getattr(score, name)) for name in ("accuracy", "of_real", "in_slot")}
            for score in self.compute_scores()
        ]
        return {
            "format": 1,
            "settings": self.settings,
            "scores": scores,
            "without_words": self.without_words,
            "clips": [asdict(clip) for clip in self.clips],
        }

    def format_markdown(self) -> str:
        """Format the whole report."""
        settings = format_settings(self.settings)
        return f"# Readability\n\n{settings}\n\n{self.format_tables()}\n\n{LEGEND}\n![confusions](confusions.png)"


def _format_percent(share: Estimate) -> str:
    value, low, high = (None if x is None else 100 * x for x in share)
    if value is None or math.isnan(value):
        return ""
    return f"{value:.1f} %" + ("" if low is None or high is None else f" ({low:.0f}-{high:.0f})")


def _describe_estimate(share: Estimate) -> dict[str, float | None]:
    return share._asdict() | {"value": None if math.isnan(share.value) else share.value}
