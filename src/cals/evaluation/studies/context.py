"""`cals context`: how much sound around a frame its mouth needs (paper section 1, Fig. 3; protocol ours)."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cals.errors import ConfigError
from cals.evaluation.studies.common import (
    Pick,
    StudyConfig,
    StudyReport,
    counts,
    journal_of,
    measured,
    numbers,
    picked,
    reader_of,
    results,
    rows_by_part,
    settings_of,
)
from cals.evaluation.studies.curves import (
    BETTER,
    MEASURES,
    ClipRecord,
    Series,
    gained,
    series,
    values,
)
from cals.evaluation.studies.mouths import FPS, MouthReader, Subject, check_crops, silent
from cals.evaluation.studies.plots import Panel, draw, plotter
from cals.inference.lipsync import LipSync
from cals.metrics.bootstrap import Estimate, draws, estimate
from cals.models.lips import LipModel
from cals.types import ProgressCallback

PUBLISHED_S = 1.2
"""Where LMD is best in the paper's Fig. 3."""
FILES = ("context.json", "context.md", "context.png")
WHOLE, NONE = "whole", "none"
"""The clip's sound in full; and silence in its place, which shows what the picture alone gives away."""
_AT_ONCE = 32
"""Stretches of sound heard at once."""


@dataclass(frozen=True, kw_only=True)
class ContextConfig(StudyConfig):
    """Which windows are tried."""

    reach: int = 25
    """Frames of sound on either side of the moment, 0 to so many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reach < 1:
            raise ConfigError(f"reach: expected 1 frame or more, found {self.reach}; 25 is the default")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One measure of one part against the window."""

    at: list[Estimate]
    """For k = 0, 1, ... frames on either side."""
    window_s: Estimate
    """The shortest window at which 95 % of the gain is reached; NaN where more sound never helps."""
    best_s: float
    """The window of the best point."""
    whole: Estimate
    none: Estimate


@dataclass(frozen=True, kw_only=True)
class ContextReport(StudyReport):
    """All of it."""

    curves: dict[str, dict[str, Curve]]
    """Part -> measure -> curve."""

    def found(self) -> dict[str, Any]:
        curves = {
            part: {
                name: {
                    "window_s": numbers(curve.window_s),
                    "best_s": curve.best_s,
                    WHOLE: numbers(curve.whole),
                    NONE: numbers(curve.none),
                    "at": [numbers(point) for point in curve.at],
                }
                for name, curve in of_part.items()
            }
            for part, of_part in self.curves.items()
        }
        return {"curves": curves}

    def summary(self) -> str:
        lines = [
            "| part | measure | no sound | k = 0 | best | whole clip | 95 % of the gain at, s | best at, s |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for part, of_part in self.curves.items():
            for name, curve in of_part.items():
                best = max(curve.at, key=lambda point: BETTER[name] * point.value)
                window = "no gain" if math.isnan(curve.window_s.value) else _seconds(curve.window_s)
                lines.append(
                    f"| {part} | {name} | {curve.none.value:.3f} | {curve.at[0].value:.3f} | {best.value:.3f} "
                    f"| {curve.whole.value:.3f} | {window} | {curve.best_s:.2f} |"
                )
        return "\n".join([*lines, "", self._compared(), "", counts(self.clips)])

    def markdown(self) -> str:
        """The report to read."""
        return self.page(
            f"How much context {self.settings['model']} needs",
            "![Curves](context.png)\n\nThe sound is cut to k frames on either side of a moment and only that moment is "
            "drawn. `no sound` is silence in place of the whole clip: what the picture alone gives away.",
        )

    def _compared(self) -> str:
        found = list(self.curves.values())[-1]["lmd"].window_s
        if math.isnan(found.value):
            return f"LMD gains nothing from more sound here; published: best near {PUBLISHED_S:g} s."
        inside = found.low is not None and found.high is not None and found.low <= PUBLISHED_S <= found.high
        way = "shorter" if found.value < PUBLISHED_S else "longer"
        return f"LMD has 95 % of its gain at {_seconds(found)}, {way} than the published {PUBLISHED_S:g} s" + (
            ", which lies within the interval." if inside else "."
        )


def context(
    lips: LipSync,
    corpus: Path,
    out: Path,
    config: ContextConfig,
    *,
    splits: Path | None = None,
    face_models: Path | None = None,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> ContextReport:
    """Measure on a prepared corpus; writes the `FILES` into `out`, all or none.

    Interrupted work goes on where it stopped. Raises DataError when the corpus has no clips to look at.
    """
    plotter()
    network = lips.model.network
    check_crops(network)
    picks = picked(corpus, splits, config)
    settings = settings_of(lips, corpus, splits, config) | {"reach": config.reach}
    reader = reader_of(config.measure, face_models, lips.batch)
    with results(out, FILES, force=force) as (document, text, picture):
        journal = journal_of(out / ".context.jsonl", settings, force=force)
        records = measured(
            corpus,
            picks,
            network.mel,
            journal,
            lambda pick, subject: of_clip(pick, subject, network, reader, config),
            progress,
        )
        report = ContextReport(settings=settings, clips=records, curves=curves_of(records, config))
        document.write_text(json.dumps(report.document(), allow_nan=False) + "\n", encoding="utf-8")
        text.write_text(report.markdown(), encoding="utf-8")
        draw(picture, [_panels(report)])
    journal.close()
    return report


def of_clip(pick: Pick, subject: Subject, network: LipModel, reader: MouthReader, config: ContextConfig) -> ClipRecord:
    """The moments of a clip with `reach` frames of sound on either side, under every window."""
    clip = subject.clip
    moments = list(range(config.reach, clip.frames - config.reach, config.every))
    found: dict[str, Series] = {}
    dropped = 0
    if moments:
        mel = clip.mel.to(next(network.parameters()).device)
        with torch.inference_mode():
            units = {str(k): cut_units(network, mel, moments, k) for k in range(config.reach + 1)}
            units[WHOLE] = network.units(mel[None])[0, moments]
            units[NONE] = network.units(silent(mel, network)[None])[0, moments]
        made = reader.made(network, subject, torch.cat(list(units.values())), moments * len(units))
        shown = dict(zip(units, np.split(made, len(units)), strict=True))
        found, dropped = series(reader.real(subject, moments), shown)
    return ClipRecord(part=pick.part, clip=pick.key, frames=clip.frames, moments=moments, dropped=dropped, series=found)


def cut_units(network: LipModel, mel: Tensor, moments: list[int], k: int) -> Tensor:
    """Units [n d] of the moments, each from the mel [m f] of its own frame and `k` on either side and nothing else."""
    step = network.mel.timing.mels_per_frame
    found = []
    for first in range(0, len(moments), _AT_ONCE):
        cut = [mel[(i - k) * step : (i + k + 1) * step] for i in moments[first : first + _AT_ONCE]]
        found.append(network.units(torch.stack(cut))[:, k])
    return torch.cat(found)


def curves_of(records: list[ClipRecord], config: ContextConfig) -> dict[str, dict[str, Curve]]:
    """Part -> measure -> curve."""
    names = [*map(str, range(config.reach + 1)), WHOLE, NONE]
    found: dict[str, dict[str, Curve]] = {}
    for part, of_part in rows_by_part(records).items():
        number = len(of_part)
        drawn = draws(number, config.seed)
        replicates = {name: values([record.series[name] for record in of_part], drawn) for name in names}
        found[part] = {}
        for measure in MEASURES:
            along = np.stack([replicates[name][measure] for name in names[:-2]], axis=1)
            window = (2 * gained(along, BETTER[measure]) + 1) / FPS
            found[part][measure] = Curve(
                at=[estimate(column, number) for column in along.T],
                window_s=estimate(window, number),
                best_s=(2 * int((BETTER[measure] * along[0]).argmax()) + 1) / FPS,
                whole=estimate(replicates[WHOLE][measure], number),
                none=estimate(replicates[NONE][measure], number),
            )
    return found


def _panels(report: ContextReport) -> list[Panel]:
    windows = [(2 * k + 1) / FPS for k in range(report.settings["reach"] + 1)]
    shown = list(report.curves.values())[-1]
    panels = []
    for measure, up in zip(MEASURES, ("correlation of mouth openings", "LMD, px of the crop"), strict=True):
        found = shown[measure].window_s.value
        panels.append(
            Panel(
                title=f"{report.settings['model']}: {measure}",
                across="window of sound, s",
                up=up,
                lines={part: (windows, curves[measure].at) for part, curves in report.curves.items()},
                levels={f"{part}, whole clip": curves[measure].whole.value for part, curves in report.curves.items()},
                places={f"published {PUBLISHED_S:g} s": PUBLISHED_S}
                | ({} if math.isnan(found) else {f"95 % of the gain, {found:.2f} s": found}),
            )
        )
    return panels


def _seconds(found: Estimate) -> str:
    interval = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.value:.2f} s{interval}"
