"""Report of `cals evaluate`, as JSON, Markdown and text."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from cals.evaluation.clip_offset import ClipOffset
from cals.evaluation.outputs import COPY, REAL
from cals.evaluation.protocol.comparison import HIGHER, LOWER, MEASURES, Cell, Measure, PairResult, Table
from cals.report.rounding import round_for_json
from cals.report.tables import format_settings, format_table

NOTES = (
    "Self-driven: each face says its own sound and is compared with the real clip. Cross-driven: it says another "
    "clip's, so only sound, lips and the person can be judged.",
    "Frames in which one method shows no face, or left it alone, are dropped for every method alike. A method with too "
    "few frames of its own, or no video, has failed on that pair and costs the others none of theirs; its means are "
    "then over fewer pairs, which can flatter it.",
    f"{REAL}: the clips themselves. {COPY}: every mouth copied from another frame of its clip, which hears nothing.",
    "Models are judged on their pictures as drawn, videos of other systems as they were encoded, which costs some PSNR "
    "and SSIM: to be strict, encode a model's output too (`cals generate`) and give it as a folder.",
    "Values are means over clips, in brackets their 95 % bootstrap interval over clips. Distances of sync encoders "
    "compare only between results by the same encoders; those that also trained a model flatter it.",
    "Fréchet distance: between all windows of 5 frames of a method and the real ones, by features of the visual sync "
    "encoder, not by Inception. It falls as windows are added, so only equal numbers compare; it has no interval, "
    "since resampled windows look further apart.",
)
ROLLED_NOTES = (
    "Rolled: each face says its own sound, brought in step with its picture and then rolled by half its length, and is "
    f"compared with the real mouth that belongs to that sound. {REAL}: the clips themselves, by closures and identity "
    "only; their closures are those of the mouths that belong to the sound.",
    *NOTES[1:2],
    f"{COPY}: every mouth copied from another frame of its clip, which hears nothing.",
    *NOTES[4:],
)
FRECHET = Measure(
    "Fréchet distance", "between windows of the mouth, generated and real", LOWER, 3, ("self", "cross", "rolled")
)
OFFSETS = "By how much each sound was delayed"
KINDS = {"self": "Self-driven", "cross": "Cross-driven", "rolled": "Driven by its own sound, rolled"}


@dataclass
class EvaluationReport:
    """Results of an evaluation."""

    settings: dict[str, Any]
    methods: tuple[str, ...]
    results: list[PairResult]
    tables: list[Table]
    clips: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Pair -> methods in its side-by-side clip, for pairs that have one."""
    notes: tuple[str, ...] = NOTES
    offsets: dict[str, ClipOffset] = field(default_factory=dict)
    """Pair -> delay of its sound before it was rolled."""
    sheet: str = ""
    """File name of the contact sheet beside the page; empty without one."""

    @property
    def exclusions(self) -> dict[str, str]:
        """Pair -> reason why no method was scored on it."""
        return {result.pair.id: result.left_out for result in self.results if result.left_out}

    @property
    def failures(self) -> dict[str, dict[str, str]]:
        """Method -> pair -> reason why it has no result."""
        failures: dict[str, dict[str, str]] = {name: {} for name in self.methods if name != REAL}
        for result in self.results:
            for name, reason in result.failed.items():
                failures.setdefault(name, {})[result.pair.id] = reason
        return failures

    def format_counts(self) -> str:
        """Format how many pairs and frames were scored."""
        scored = [result for result in self.results if result.scores]
        used, frames = sum(r.used for r in scored), sum(r.frames for r in scored)
        dropped = {name: sum(r.without_face.get(name, 0) for r in scored) for name in self.methods}
        text = f"{len(scored)} of {len(self.results)} pairs judged, on {used} of their {frames} frames"
        text += f"; without a face: {', '.join(f'{name} {count}' for name, count in dropped.items())}"
        failures = ", ".join(f"{name} {len(pairs)}" for name, pairs in self.failures.items() if pairs)
        alone = sum(bool(result.aligned_alone) for result in scored)
        text += f"; failed pairs: {failures}" if failures else "; no method failed"
        text += f"; pictures of another size, aligned by themselves: in {alone} pairs" if alone else ""
        return text + (f"; left out: {', '.join(self.exclusions)}" if self.exclusions else "")

    def format_text(self) -> str:
        """Format tables and counts as text that is Markdown too."""
        blocks = []
        for one in self.tables:
            if one.rows:
                head = [f"{one.judged} of {one.pairs} pairs", *one.rows]
                blocks.append(f"## {format_title(one)}\n\n{format_table(head, format_rows(one))}")
        return "\n\n".join([*blocks, self.format_counts()])

    def list_measures(self) -> list[Measure]:
        """List the measures of the tables."""
        names = {name for one in self.tables for row in one.rows.values() for name in row}
        return [*(measure for name, measure in MEASURES.items() if name in names), FRECHET]

    def format_offset_table(self) -> str:
        """Format the delay of each sound and its source."""
        lines = [[name, f"{one.late_frames:g}", one.why] for name, one in self.offsets.items()]
        return format_table(["pair", "frames of 1/25 s", "why"], lines)

    def format_markdown(self) -> str:
        """Format the report as Markdown."""
        settings = format_settings({name: format_setting(value) for name, value in self.settings.items()})
        meanings = "\n".join(f"- {measure.title}: {measure.meaning}" for measure in self.list_measures())
        notes = "\n".join(f"- {note}" for note in self.notes)
        offsets = f"## {OFFSETS}\n\n{self.format_offset_table()}\n\n" if self.offsets else ""
        scores = self.format_text()
        return f"# Evaluation\n\n{settings}\n\n{scores}\n\n{offsets}## What is measured\n\n{meanings}\n\n{notes}"

    def document(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        means = [
            {
                "part": one.part,
                "kind": one.kind,
                "pairs": one.pairs,
                "judged": one.judged,
                "failed": one.failed,
                "frechet": {name: {"value": v, "windows": n} for name, (v, n) in one.frechet.items()},
                "methods": {
                    name: {m: cell.estimate._asdict() | {"clips": cell.clips} for m, cell in row.items()}
                    for name, row in one.rows.items()
                },
            }
            for one in self.tables
        ]
        pairs = [
            asdict(result.pair)
            | {k: v for k, v in vars(result).items() if k != "pair"}
            | ({"offset": asdict(self.offsets[result.pair.id])} if result.pair.id in self.offsets else {})
            for result in self.results
        ]
        report = {"settings": self.settings, "means": means, "failed": self.failures, "pairs": pairs}
        document: dict[str, Any] = round_for_json({"format": 1} | report)
        return document


def format_title(one: Table) -> str:
    """Format the title of a table."""
    return f"{KINDS[one.kind]}, {one.part}"


def format_rows(one: Table) -> list[list[str]]:
    """Format a table's rows: a line a measure, a column a method."""
    names = [name for name in MEASURES if any(name in row for row in one.rows.values())]
    lines = [
        [
            MEASURES[name].title,
            *(format_value(row.get(name), MEASURES[name].digits, one.judged) for row in one.rows.values()),
        ]
        for name in names
    ]
    if one.frechet:
        cells = [f"{one.frechet[n][0]:.3f} ({one.frechet[n][1]} windows)" if n in one.frechet else "" for n in one.rows]
        lines.append([FRECHET.title, *cells])
    return [*lines, ["failed pairs", *(str(one.failed.get(name, 0)) for name in one.rows)]]


def format_value(cell: Cell | None, digits: int, judged: int) -> str:
    """Format a mean with its interval, and its number of clips where that is not all of them."""
    if cell is None or not math.isfinite(cell.estimate.value):
        return ""
    mean, low, high = cell.estimate
    details = [] if low is None or high is None else [f"{low:.{digits}f} to {high:.{digits}f}"]
    details += [f"{cell.clips} clip{'s' if cell.clips > 1 else ''}"] if cell.clips < judged else []
    return f"{mean:.{digits}f}" + (f" ({', '.join(details)})" if details else "")


def describe_direction(measure: Measure) -> str:
    """Describe which values of a measure are better."""
    if math.isnan(measure.best):
        return "no value is best"
    if measure.best == HIGHER:
        return "higher is better"
    return "lower is better" if measure.best == LOWER else f"{measure.best:g} is best"


def format_setting(value: object) -> str:
    """Format a setting in one line."""
    return ", ".join(f"{k} = {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
