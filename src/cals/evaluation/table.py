"""Means over clips, their tables, and the targets beside the values reached."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cals.report.tables import format_table

Means = dict[str, dict[str, dict[str, float]]]
"""Part -> method -> measure -> mean over clips; `clips` is their number."""

METHODS = ("real", "self", "cross", "shuffled", "copy")
MOTION_TITLES = {
    "opening": "opening r",
    "width": "width r",
    "span": "span",
    "leak": "leak",
    "silence": "silence",
    "lmd": "LMD px",
    "lmd_over_copy": "LMD / copy",
    "found": "clips in step",
    "windows_found": "windows in step",
}
PIXEL_TITLES = {
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "psnr_lower": "lower PSNR",
    "ssim_lower": "lower SSIM",
    "psnr_lips": "lips PSNR",
    "psnr_lips_over_copy": "lips - copy",
    "sharpness": "sharpness",
}
LEGEND = """\
- `self`: the clip's face driven by its own sound. `cross`: by another clip's sound, rolled by half, judged against the
  mouth that belongs to that sound. `shuffled`: the pictures of `cross` judged against the clip's own mouth. `copy`:
  every mouth copied from another frame of the clip, five or more away. `real`: the clip itself. All on the same frames.
- opening r, width r: Pearson correlation of mouth opening and width with the real ones. span: standard deviation of the
  opening over the real one's. leak: correlation of a cross-driven mouth with the face's own motion, less what the two
  real mouths share. silence: how much wider than the real mouth the generated one is open before the first word, in
  inter-ocular distances. LMD: distance of 20 lip points in pixels of the 128 px crop, their mean place taken off.
- PSNR and SSIM: the whole crop; its lower half; the outer lips and 4 px around. sharpness: gradient energy there over
  the real one's. in step: offset found within one frame among 31 by the sync encoders.
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Target of one measure of one method: a range for every part it is set for."""

    label: str
    method: str
    measure: str
    ranges: Mapping[str, tuple[float, float]]

    def is_met(self, part: str, reached: float) -> bool:
        """Return whether the value lies in the part's range."""
        low, high = self.ranges[part]
        return low <= reached <= high


def _build_target(
    label: str, method: str, measure: str, seen: tuple[float, float], unseen: tuple[float, float] | None = None
) -> Target:
    return Target(label=label, method=method, measure=measure, ranges={"val_seen": seen, "val_unseen": unseen or seen})


TARGETS = (
    _build_target("opening correlation, self-driven", "self", "opening", (0.90, math.inf), (0.80, math.inf)),
    _build_target("opening correlation, cross-driven", "cross", "opening", (0.85, math.inf), (0.70, math.inf)),
    _build_target("width correlation, self-driven", "self", "width", (0.75, math.inf), (0.50, math.inf)),
    _build_target("span, self-driven", "self", "span", (0.85, 1.15), (0.80, 1.25)),
    _build_target("span, cross-driven", "cross", "span", (0.85, 1.15), (0.80, 1.25)),
    _build_target("leak, cross-driven", "cross", "leak", (-0.10, 0.10)),
    _build_target("wider than real in silence", "self", "silence", (-math.inf, 0.01)),
    _build_target("LMD as a share of copy's", "self", "lmd_over_copy", (-math.inf, 0.55), (-math.inf, 0.65)),
    _build_target("lip PSNR over copy's, dB", "self", "psnr_lips_over_copy", (2.0, math.inf), (1.2, math.inf)),
    _build_target("sharpness", "self", "sharpness", (0.8, 1.2)),
    _build_target("real clips found in step", "real", "found", (1.0, math.inf)),
)


def average_scores(clips: Sequence[tuple[str, dict[str, dict[str, float]]]]) -> Means:
    """Average (part, scores) over clips; a mean leaves out values that are not finite."""
    result: Means = {}
    for part in dict.fromkeys(part for part, _ in clips):
        of_part = [scores for name, scores in clips if name == part]
        result[part] = {}
        for method in METHODS:
            valid = [scores[method] for scores in of_part if scores.get(method)]
            if valid:
                result[part][method] = {"clips": float(len(valid))} | _average(valid)
        copy = result[part].get("copy", {})
        for method, values in result[part].items():
            if method != "copy" and "lmd" in values and copy:
                values["lmd_over_copy"] = values["lmd"] / max(copy["lmd"], 1e-9)
            if method != "copy" and "psnr_lips" in values and copy:
                values["psnr_lips_over_copy"] = values["psnr_lips"] - copy["psnr_lips"]
    return result


def _average(scores: list[dict[str, float]]) -> dict[str, float]:
    columns = {name: [values[name] for values in scores if name in values] for name in (*MOTION_TITLES, *PIXEL_TITLES)}
    numbers = {name: [value for value in column if math.isfinite(value)] for name, column in columns.items()}
    return {name: float(np.mean(column)) for name, column in numbers.items() if column}


def format_score_tables(found: Means) -> str:
    """Format the motion scores, then the pixel scores: one line a part and method."""
    return "\n\n".join(
        filter(None, (_format_score_table(found, MOTION_TITLES), _format_score_table(found, PIXEL_TITLES)))
    )


def _format_score_table(found: Means, titles: Mapping[str, str]) -> str:
    lines = [
        (part, method, values)
        for part, methods in found.items()
        for method, values in methods.items()
        if not values.keys().isdisjoint(titles)
    ]
    columns = [name for name in titles if any(name in values for _, _, values in lines)]
    rows = [
        [part, method, f"{values['clips']:.0f}", *(_format_number(values.get(name)) for name in columns)]
        for part, method, values in lines
    ]
    return format_table(["part", "method", "clips", *(titles[name] for name in columns)], rows) if rows else ""


def list_targets(found: Means) -> list[tuple[Target, str, float]]:
    """List every target of every part that was measured, with the value reached."""
    return [
        (target, part, values[target.measure])
        for target in TARGETS
        for part in target.ranges
        if target.measure in (values := found.get(part, {}).get(target.method, {}))
    ]


def format_target_table(found: Means) -> str:
    """Format the targets beside the values reached."""
    rows = [
        [
            target.label,
            part,
            _format_range(*target.ranges[part]),
            _format_number(reached),
            "yes" if target.is_met(part, reached) else "no",
        ]
        for target, part, reached in list_targets(found)
    ]
    return format_table(["target", "part", "wanted", "reached", "met"], rows) if rows else ""


def _format_number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _format_range(low: float, high: float) -> str:
    if math.isinf(high):
        return f">= {low:g}"
    return f"<= {high:g}" if math.isinf(low) else f"{low:g} to {high:g}"
