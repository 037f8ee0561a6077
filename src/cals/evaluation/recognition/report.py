"""Report on word error rates: tables, and JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cals.evaluation.outputs import REAL
from cals.evaluation.recognition.agreement import Agreement
from cals.evaluation.recognition.conditions import Condition
from cals.evaluation.recognition.grammar import ROWS, Grammar
from cals.evaluation.recognition.records import ClipRecord
from cals.evaluation.recognition.scores import Contrast, PartScores, build_contrasts, is_number
from cals.evaluation.recognition.systems import System
from cals.evaluation.studies.common import ALL
from cals.metrics.bootstrap import Estimate
from cals.models.avsr.network import STREAMS
from cals.report.rounding import round_estimate, round_for_json
from cals.report.tables import format_settings, format_table

FILES, PLOT = ("wer.json", "wer.md"), "wer.png"
LEGEND = """\
- Word error rate in %: substitutions, insertions and deletions over words said, both summed over the clips (and over
  seeds of the corruption, and networks of one name). In brackets: 95 % bootstrap interval over clips.
  Networks of one name were trained from several seeds: how much these matter is seen where each stands by itself.
- audio, video, both: the streams that are corrupted, in 1 to 3 bursts of a tenth to three tenths of the clip each. any:
  by all kinds, of the strengths published for tests. The same bursts for every model; those of one kind lie at the same
  places for all its strengths. dB: mean power of the clip's sound over that of the noise; px: of a mouth crop of 96 px;
  noise and blur: standard deviation as a share of white and of the crop's side.
- grammar only: the model's language model, which sees and hears nothing. For every clip it says its most probable
  sentence, or the one with the fewest expected errors, or (expected rate) one drawn from it. What is read better than
  this was seen or heard.
"""
DIFFERENCES = """\
Differences of word error rates in percentage points, paired by clip: below 0 the first one is better. The better single
stream is the one with the lower rate under that condition, found on the same clips, which favours it. `*`: the interval
leaves 0 out."""
AUCS = """\
How often a corrupted frame is trusted less than another one, among the frames of all clips (AUC of 1 - score): 0.5 is
chance."""
CHANGES = """\
The same sentences on generated lips: word error rate, its ratio to that on the real ones, and its difference in
percentage points, paired by clip. `*`: the interval leaves 0 out."""


@dataclass
class WerReport:
    """Readings of all clips, and the tables made of them."""

    settings: dict[str, Any]
    systems: Sequence[System]
    conditions: Sequence[Condition]
    grammars: dict[str, Grammar]
    """By system."""
    clips: list[ClipRecord] = field(default_factory=list)
    seed: int = 0
    agreement: Agreement | None = None
    """With the word reader of `cals readability`, where its report is given."""

    @cached_property
    def parts(self) -> list[PartScores]:
        """Scores of each part, and of all of them together where there are several."""
        names = dict.fromkeys(clip.part for clip in self.clips)
        parts = [PartScores(name, [clip for clip in self.clips if clip.part == name], self.seed) for name in names]
        return parts if len(parts) < 2 else [*parts, PartScores(ALL, self.clips, self.seed)]

    @property
    def contrasts(self) -> list[Contrast]:
        """Compared systems."""
        return build_contrasts(self.systems)

    @property
    def curves(self) -> dict[tuple[str, str], list[Condition]]:
        """Conditions by streams and kind, where there are several strengths, in rising order."""
        curves: dict[tuple[str, str], list[Condition]] = {}
        for condition in self.conditions:
            if condition.strength is not None:
                curves.setdefault((condition.streams, condition.kind), []).append(condition)
        several = {key: group for key, group in curves.items() if len(group) > 1}
        return {key: sorted(group, key=lambda one: one.strength or 0.0) for key, group in several.items()}

    @property
    def files(self) -> tuple[str, ...]:
        """What there is to write: a plot only where there are curves."""
        return (*FILES, PLOT) if self.curves else FILES

    @property
    def generated(self) -> list[str]:
        """Conditions with generated lips."""
        names = [condition.name for condition in self.conditions]
        return names[1:] if names[0] == REAL else []

    def format_tables(self, *, brief: bool = False) -> str:
        """Format the tables of each part: rates, generated against real lips, and unless `brief` the other ones.

        The other ones are differences, scores and networks. The text is Markdown too.
        """
        sections = []
        for part in self.parts:
            sections.append(f"## {part.part}: {len(part.clips)} clips, {part.words.sum():.0f} words")
            sections.append(self._format_rates(part))
            details = [(CHANGES, self._format_changes(part)), *([] if brief else self._format_details(part))]
            sections += [_add_title(title, text) for title, text in details if text]
        if self.agreement is not None:
            sections.append(_add_title("## Agreement", self.agreement.format_text()))
        return "\n\n".join(sections)

    def _format_rates(self, part: PartScores) -> str:
        rows = [
            [condition.name, *(_format_percent(part.rate(condition.name, system.name)) for system in self.systems)]
            for condition in self.conditions
        ]
        grammar = [part.estimate_grammar_rates(self.grammars[system.name]) for system in self.systems]
        rows += [
            [name, *map(_format_percent, column)] for name, column in zip(ROWS, zip(*grammar, strict=True), strict=True)
        ]
        return format_table(["condition", *(system.name for system in self.systems)], rows)

    def _format_details(self, part: PartScores) -> list[tuple[str, str]]:
        return [
            (DIFFERENCES, self._format_differences(part)),
            (AUCS, self._format_aucs(part)),
            ("Networks of one name by themselves, word error rate in %.", self._format_networks(part)),
        ]

    def _format_differences(self, part: PartScores) -> str:
        if not self.contrasts or self.generated:
            return ""
        rows = []
        for condition in self.conditions:
            row = [condition.name]
            for contrast in self.contrasts:
                other, value = part.estimate_difference(condition.name, contrast)
                row.append(_format_points(value) + (f" {other}" if len(contrast.others) > 1 else ""))
            rows.append(row)
        return format_table(["condition", *(contrast.title for contrast in self.contrasts)], rows)

    def _format_changes(self, part: PartScores) -> str:
        rows = [
            [
                system.name,
                name,
                _format_percent(part.rate(REAL, system.name)),
                _format_percent(part.rate(name, system.name)),
                _format_ratio(part.ratio(name, REAL, system.name)),
                _format_points(part.change(name, REAL, system.name)),
            ]
            for system in self.systems
            for name in self.generated
        ]
        return format_table(["read by", "videos", "real", "generated", "ratio", "difference"], rows) if rows else ""

    def _format_aucs(self, part: PartScores) -> str:
        columns = [(system, stream) for system in self.systems if system.has_scores for stream in STREAMS]
        rows = []
        for condition in self.conditions:
            aucs = [part.estimate_auc(condition.name, system, stream) for system, stream in columns]
            if any(aucs):
                rows.append([condition.name, *("" if auc is None else _format_ratio(auc) for auc in aucs)])
        return (
            format_table(["condition", *(f"{system.name}, {stream}" for system, stream in columns)], rows)
            if rows
            else ""
        )

    def _format_networks(self, part: PartScores) -> str:
        several = [system for system in self.systems if len(system.networks) > 1]
        if not several:
            return ""
        rows = [
            [
                condition.name,
                *(
                    ", ".join(f"{100 * rate:.1f}" for rate in part.compute_network_rates(condition.name, system))
                    for system in several
                ),
            ]
            for condition in self.conditions
        ]
        return format_table(["condition", *(system.name for system in several)], rows)

    def format_markdown(self) -> str:
        """Format the whole report."""
        settings = format_settings({name: value for name, value in self.settings.items() if name != "conditions"})
        picture = f"\n![word error rates]({PLOT})\n" if PLOT in self.files else ""
        return f"# Word error rates\n\n{settings}\n\n{self.format_tables()}\n\n{LEGEND}{picture}"

    def document(self) -> dict[str, Any]:
        """Return a JSON document of everything but single frames' scores."""
        return {
            "format": 1,
            "settings": self.settings,
            "rates": [self._rate_entry(part, condition, system) for part, condition, system in self._iterate_cells()],
            "grammar": [self._build_grammar_entry(part, system) for part in self.parts for system in self.systems],
            "differences": self._build_difference_entries(),
            "generated": self._change_entries(),
            "reliability": self._build_auc_entries(),
            "agreement": None if self.agreement is None else self.agreement.document(),
            "clips": [
                {"part": clip.part, "clip": clip.clip, "said": clip.said, "readings": clip.readings}
                for clip in self.clips
            ],
        }

    def _iterate_cells(self) -> list[tuple[PartScores, Condition, System]]:
        return [(part, one, system) for part in self.parts for one in self.conditions for system in self.systems]

    def _rate_entry(self, part: PartScores, condition: Condition, system: System) -> dict[str, Any]:
        substitutions, insertions, deletions = part.count_edits(condition.name, system.name).sum(axis=0).tolist()
        return {
            "part": part.part,
            "condition": condition.name,
            "streams": condition.streams,
            "kind": condition.kind,
            "strength": condition.strength,
            "system": system.name,
            "wer": round_estimate(part.rate(condition.name, system.name)),
            "networks": round_for_json(part.compute_network_rates(condition.name, system)),
            "words": int(part.words.sum()),
            "substitutions": substitutions,
            "insertions": insertions,
            "deletions": deletions,
        }

    def _build_grammar_entry(self, part: PartScores, system: System) -> dict[str, Any]:
        grammar = self.grammars[system.name]
        rates = map(round_estimate, part.estimate_grammar_rates(grammar))
        sentences = {"most probable": grammar.probable, "best guess": grammar.guess}
        return {"part": part.part, "system": system.name, **sentences, "wer": dict(zip(ROWS, rates, strict=True))}

    def _build_difference_entries(self) -> list[dict[str, Any]]:
        entries = []
        for part in self.parts if not self.generated else []:
            for condition in self.conditions:
                for contrast in self.contrasts:
                    other, value = part.estimate_difference(condition.name, contrast)
                    names = {"part": part.part, "condition": condition.name, "system": contrast.system, "other": other}
                    entries.append(names | {"title": contrast.title, "difference": round_estimate(value)})
        return entries

    def _change_entries(self) -> list[dict[str, Any]]:
        return [
            {
                "part": part.part,
                "system": system.name,
                "videos": name,
                "ratio": round_estimate(part.ratio(name, REAL, system.name)),
                "difference": round_estimate(part.change(name, REAL, system.name)),
            }
            for part in self.parts
            for system in self.systems
            for name in self.generated
        ]

    def _build_auc_entries(self) -> list[dict[str, Any]]:
        entries = []
        for part, condition, system in self._iterate_cells():
            for stream in STREAMS:
                auc = part.estimate_auc(condition.name, system, stream)
                if auc is not None:
                    names = {"part": part.part, "condition": condition.name, "system": system.name, "stream": stream}
                    entries.append(names | {"auc": round_estimate(auc)})
        return entries


def _add_title(title: str, text: str) -> str:
    return f"{title}\n\n{text}"


def _format_percent(share: Estimate) -> str:
    value, low, high = share
    if not is_number(share):
        return ""
    return f"{100 * value:.1f}" + ("" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})")


def _format_points(share: Estimate) -> str:
    value, low, high = share
    if not is_number(share):
        return ""
    if low is None or high is None:
        return f"{100 * value:+.1f}"
    return f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}){'*' if low > 0 or high < 0 else ''}"


def _format_ratio(share: Estimate) -> str:
    value, low, high = share
    if not is_number(share):
        return ""
    return f"{value:.2f}" + ("" if low is None or high is None else f" ({low:.2f} to {high:.2f})")
