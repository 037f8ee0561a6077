"""Report of a study: mean opinion scores beside those of the paper's Table 2, with intervals and tests."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cals.errors import DataError
from cals.evaluation.opinion.answers import read_answers
from cals.evaluation.opinion.plot import draw_scores
from cals.evaluation.opinion.ratings import (
    MAX_SHUFFLED_SCORE,
    MIN_REAL_SCORE,
    MIN_SAMPLE,
    Comparison,
    Rater,
    collect_ratings,
    compare_methods,
    estimate_means,
    group_raters,
)
from cals.evaluation.opinion.study import ANSWERS, QUESTIONS, Study, read_study
from cals.evaluation.results import open_results, write_json
from cals.metrics.bootstrap import Estimate
from cals.report.plots import load_pyplot
from cals.report.rounding import round_for_json
from cals.report.tables import format_table

FILES = ("report.json", "report.md", "report.png")
PUBLISHED = {
    "ground truth (paper)": (4.607, 4.687, 4.627),
    "CALS (paper)": (3.761, 4.119, 3.940),
    "Wav2Lip (paper)": (2.975, 3.557, 3.109),
}
"""Table 2: visual quality, lip-sync quality, realness."""
NOTES = (
    "Scores go from 1 to 5. Intervals are 95 % bootstrap intervals that draw raters and clips anew, both at once (2000 "
    "resamples, seeded), so they hold for other people and other clips of the same kind. They are widened for small "
    f"samples, as Student's t is; with fewer than {MIN_SAMPLE} raters or clips there are none.",
    "Differences are of the same rater and the same clip. p: two-sided sign-flip permutation test over raters, "
    "of these clips only, so it may be small where the interval, which is of other clips too, has 0 in it. With Holm's "
    "correction it holds for all comparisons of the table together.",
    "Published scores are of other raters and other clips: compare how far methods lie apart, not the digits.",
    "Practice trials count nowhere. Catch trials decide who counts, and count nowhere else: the lip-sync of a real "
    f"video has to be rated {MIN_REAL_SCORE} or higher, that of one with another clip's sound "
    f"{MAX_SHUFFLED_SCORE} or lower, every time.",
)


@dataclass(frozen=True, kw_only=True)
class OpinionReport:
    """Results of a study."""

    study: Study
    counted: list[Rater]
    caught: list[Rater]
    """Raters left out for failed catch trials."""
    unfinished: list[Rater]
    """Raters left out because they did not answer everything."""
    damaged: int
    """Number of unusable lines of answers."""
    means: dict[str, dict[str, Estimate]]
    """Method -> question -> mean opinion score."""
    everyone: dict[str, dict[str, Estimate]]
    """The same with the raters who failed catch trials."""
    comparisons: list[Comparison]

    def format_counts(self) -> str:
        """Format how many raters are counted and left out."""
        partly = sum(not rater.finished for rater in self.counted)
        text = f"Raters counted: {len(self.counted)}" + (f" ({partly} of them did not finish)" if partly else "")
        text += f"; left out for catch trials: {len(self.caught)}; left out unfinished: {len(self.unfinished)}"
        text += f"; clips: {len(self.study.clips)}"
        return text + (f"; damaged lines of answers: {self.damaged}" if self.damaged else "")

    def format_text(self) -> str:
        """Format tables and counts as text that is Markdown too."""
        rows = _build_rows(self.means) + [[name, *(f"{v:.3f}" for v in values)] for name, values in PUBLISHED.items()]
        blocks = ["## Mean opinion scores", format_table(_build_head("method"), rows), self.format_counts()]
        if self.comparisons:
            head = ["question", "methods", "difference", "p", "p (Holm)"]
            blocks += ["## Differences", format_table(head, [_build_comparison_row(one) for one in self.comparisons])]
        return "\n\n".join(blocks)

    def format_markdown(self) -> str:
        """Format the report as Markdown."""
        blocks = [f"# Study {self.study.id}", self.format_text()]
        if self.caught:
            lines = "\n".join(f"- {rater.name}: {'; '.join(rater.failed_catches)}" for rater in self.caught)
            blocks += ["## Left out for catch trials", lines, "With them the scores would be:"]
            blocks += [format_table(_build_head("method"), _build_rows(self.everyone))]
        return "\n\n".join([*blocks, "## How to read it", "\n".join(f"- {note}" for note in NOTES)])

    def document(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        document: dict[str, Any] = round_for_json(
            {
                "format": 1,
                "study": self.study.id,
                "clips": self.study.clips,
                "raters": {
                    "counted": [rater.name for rater in self.counted],
                    "caught": {rater.name: rater.failed_catches for rater in self.caught},
                    "unfinished": {rater.name: len(rater.answers) for rater in self.unfinished},
                },
                "damaged_lines": self.damaged,
                "means": _to_json(self.means),
                "means_of_everyone": _to_json(self.everyone),
                "published": {
                    name: dict(zip((q.key for q in QUESTIONS), values, strict=True))
                    for name, values in PUBLISHED.items()
                },
                "comparisons": [asdict(one) | {"difference": one.difference._asdict()} for one in self.comparisons],
            }
        )
        return document


def report_study(
    folder: Path,
    files: Sequence[Path] = (),
    *,
    unfinished: bool = False,
    seed: int = 0,
    force: bool = False,
) -> OpinionReport:
    """Write the `FILES` into a study's folder, from the answers there and in further `files`.

    With `unfinished`, raters who stopped early count too, if they saw a catch trial and failed none. Raises DataError
    when nobody counts.
    """
    study = read_study(folder)
    load_pyplot()  # fails before any work if matplotlib is missing
    with open_results(folder, FILES, force=force, reserved=files) as (document, text, picture):
        report = _evaluate(study, [*sorted((folder / ANSWERS).glob("*.jsonl")), *files], unfinished, seed)
        write_json(document, report.document())
        text.write_text(report.format_markdown() + "\n", encoding="utf-8")
        draw_scores(picture, report.means, PUBLISHED)
    return report


def _evaluate(study: Study, paths: Sequence[Path], unfinished: bool, seed: int) -> OpinionReport:
    answers, damaged = read_answers(paths, study)
    raters = group_raters(answers, study)
    has_catches = any(one.role == "catch" for one in study.stimuli.values())

    def is_enough(rater: Rater) -> bool:
        saw_catch = not has_catches or any(one.role == "catch" for one, _ in rater.answers)
        return rater.finished or (unfinished and saw_catch)

    enough = [rater for rater in raters if is_enough(rater)]
    counted = [rater for rater in enough if not rater.failed_catches]
    if not counted:
        raise DataError(
            f"answers: expected those of one rater at least who finished and passed the catch trials, found "
            f"{len(raters)} raters, {len(enough)} of them finished; wait for more, or name files with --answers"
        )
    ratings = collect_ratings(counted, study)
    return OpinionReport(
        study=study,
        counted=counted,
        caught=[rater for rater in enough if rater.failed_catches],
        unfinished=[rater for rater in raters if not is_enough(rater)],
        damaged=damaged,
        means=estimate_means(ratings, seed),
        everyone=estimate_means(collect_ratings(enough, study), seed),
        comparisons=compare_methods(ratings, seed),
    )


def _build_head(first: str) -> list[str]:
    return [first, *(question.title for question in QUESTIONS)]


def _build_rows(means: dict[str, dict[str, Estimate]]) -> list[list[str]]:
    return [[method, *(str(of[question.key]) for question in QUESTIONS)] for method, of in means.items()]


def _build_comparison_row(one: Comparison) -> list[str]:
    title = next(question.title for question in QUESTIONS if question.key == one.question)
    return [title, f"{one.first} - {one.second}", str(one.difference), *(f"{p:.4f}" for p in (one.p, one.p_holm))]


def _to_json(means: dict[str, dict[str, Estimate]]) -> dict[str, dict[str, Any]]:
    return {method: {key: value._asdict() for key, value in of.items()} for method, of in means.items()}
