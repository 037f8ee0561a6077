"""`cals context`: the audio context that a frame's mouth needs (paper section 1, Fig. 3; protocol ours)."""

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
    build_reader,
    describe_settings,
    format_counts,
    group_by_part,
    measure_clips,
    open_study,
    select_clips,
    write_report,
)
from cals.evaluation.studies.curves import (
    DIRECTION,
    MEASURE_LABELS,
    MEASURES,
    ClipRecord,
    Series,
    build_series,
    compute_measures,
    find_gain_point,
)
from cals.evaluation.studies.mouth_readers import FPS, MouthReader, StudyClip, build_silence, check_crops
from cals.inference.lipsync import LipSync
from cals.metrics.bootstrap import Estimate, estimate_interval, sample_clip_counts
from cals.models.lips import LipModel
from cals.report.plots import Panel, draw_panels, load_pyplot
from cals.report.rounding import round_estimate
from cals.report.tables import format_table
from cals.types import ProgressCallback

PUBLISHED_S = 1.2
"""Window at which LMD is best in the paper's Fig. 3."""
FILES = ("context.json", "context.md", "context.png")
WHOLE, SILENCE = "whole", "none"
"""Conditions: the clip's sound in full; and silence in its place, the baseline of the picture alone."""
_BATCH = 32
"""Batch size: windows of sound encoded at once."""


@dataclass(frozen=True, kw_only=True)
class ContextConfig(StudyConfig):
    """Windows that are measured."""

    reach: int = 25
    """Largest number of frames of sound on either side of the moment."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reach < 1:
            raise ConfigError(f"reach: expected 1 frame or more, found {self.reach}; 25 is the default")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One measure of one part against the window."""

    points: list[Estimate]
    """Points for k = 0, 1, ... frames on either side."""
    window_s: Estimate
    """The shortest window at which 95 % of the gain is reached; NaN where more sound never helps."""
    best_s: float
    """The window of the best point."""
    whole: Estimate
    silence: Estimate


@dataclass(frozen=True, kw_only=True)
class ContextReport(StudyReport):
    """Curves of all parts."""

    curves: dict[str, dict[str, Curve]]
    """Part -> measure -> curve."""

    def describe_results(self) -> dict[str, Any]:
        curves = {
            part: {
                name: {
                    "window_s": round_estimate(curve.window_s),
                    "best_s": curve.best_s,
                    WHOLE: round_estimate(curve.whole),
                    SILENCE: round_estimate(curve.silence),
                    "at": [round_estimate(point) for point in curve.points],
                }
                for name, curve in of_part.items()
            }
            for part, of_part in self.curves.items()
        }
        return {"curves": curves}

    def format_summary(self) -> str:
        head = ["part", "measure", "no sound", "k = 0", "best", "whole clip", "95 % of the gain at, s", "best at, s"]
        rows = []
        for part, of_part in self.curves.items():
            for name, curve in of_part.items():
                best = max(curve.points, key=lambda point: DIRECTION[name] * point.value)
                window = "no gain" if math.isnan(curve.window_s.value) else _format_seconds(curve.window_s)
                values = (curve.silence.value, curve.points[0].value, best.value, curve.whole.value)
                rows.append([part, name, *(f"{value:.3f}" for value in values), window, f"{curve.best_s:.2f}"])
        table = format_table(head, rows, aligned=False)
        return "\n\n".join([table, self._compare_with_paper(), format_counts(self.clips)])

    def format_markdown(self) -> str:
        return self.format_page(
            f"How much context {self.settings['model']} needs",
            "![Curves](context.png)\n\nThe sound is cut to k frames on either side of a moment and only that moment is "
            "drawn. `no sound` is silence in place of the whole clip: what the picture alone gives away.",
        )

    def _compare_with_paper(self) -> str:
        window = list(self.curves.values())[-1]["lmd"].window_s
        if math.isnan(window.value):
            return f"LMD gains nothing from more sound here; published: best near {PUBLISHED_S:g} s."
        is_inside = window.low is not None and window.high is not None and window.low <= PUBLISHED_S <= window.high
        direction = "shorter" if window.value < PUBLISHED_S else "longer"
        return (
            f"LMD has 95 % of its gain at {_format_seconds(window)}, {direction} than the published {PUBLISHED_S:g} s"
            + (", which lies within the interval." if is_inside else ".")
        )


def measure_context(
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

    Interrupted work is resumed. Raises DataError when the corpus has no clips to measure.
    """
    load_pyplot()
    network = lips.model.network
    check_crops(network)
    picks = select_clips(corpus, splits, config)
    settings = describe_settings(lips, corpus, splits, config) | {"reach": config.reach}
    reader = build_reader(config.measure, face_models, lips.batch)
    study = open_study(out, "context", ClipRecord, settings, FILES[2:], force=force)
    with study as ((document, text, picture), journal):
        records = measure_clips(
            corpus,
            picks,
            network.mel,
            journal,
            lambda pick, subject: measure_clip(pick, subject, network, reader, config),
            progress,
        )
        report = ContextReport(settings=settings, clips=records, curves=build_curves(records, config))
        write_report(report, document, text)
        draw_panels(picture, [_build_panels(report)])
    return report


def measure_clip(
    pick: Pick, subject: StudyClip, network: LipModel, reader: MouthReader, config: ContextConfig
) -> ClipRecord:
    """Measure the moments of a clip with `reach` frames of sound on either side, under every window."""
    clip = subject.clip
    moments = list(range(config.reach, clip.frames - config.reach, config.every))
    by_condition: dict[str, Series] = {}
    dropped = 0
    if moments:
        mel = clip.mel.to(next(network.parameters()).device)
        with torch.inference_mode():
            units = {str(k): cut_units(network, mel, moments, k) for k in range(config.reach + 1)}
            units[WHOLE] = network.predict_units(mel[None])[0, moments]
            units[SILENCE] = network.predict_units(build_silence(mel, network)[None])[0, moments]
        generated = reader.read_output(network, subject, torch.cat(list(units.values())), moments * len(units))
        landmarks = dict(zip(units, np.split(generated, len(units)), strict=True))
        by_condition, dropped = build_series(reader.read_real(subject, moments), landmarks)
    return ClipRecord(
        part=pick.part, clip=pick.key, frames=clip.frames, moments=moments, dropped=dropped, series=by_condition
    )


def cut_units(network: LipModel, mel: Tensor, moments: list[int], k: int) -> Tensor:
    """Compute units [n d] of the moments, each only from the mel [m f] of its own frame and `k` on either side."""
    step = network.mel.timing.mels_per_frame
    units = []
    for first in range(0, len(moments), _BATCH):
        windows = [mel[(i - k) * step : (i + k + 1) * step] for i in moments[first : first + _BATCH]]
        units.append(network.predict_units(torch.stack(windows))[:, k])
    return torch.cat(units)


def build_curves(records: list[ClipRecord], config: ContextConfig) -> dict[str, dict[str, Curve]]:
    """Compute part -> measure -> curve."""
    names = [*map(str, range(config.reach + 1)), WHOLE, SILENCE]
    curves: dict[str, dict[str, Curve]] = {}
    for part, of_part in group_by_part(records).items():
        number = len(of_part)
        resamples = sample_clip_counts(number, config.seed)
        replicates = {name: compute_measures([record.series[name] for record in of_part], resamples) for name in names}
        curves[part] = {}
        for measure in MEASURES:
            along = np.stack([replicates[name][measure] for name in names[:-2]], axis=1)
            window = (2 * find_gain_point(along, DIRECTION[measure]) + 1) / FPS
            curves[part][measure] = Curve(
                points=[estimate_interval(column, number) for column in along.T],
                window_s=estimate_interval(window, number),
                best_s=(2 * int((DIRECTION[measure] * along[0]).argmax()) + 1) / FPS,
                whole=estimate_interval(replicates[WHOLE][measure], number),
                silence=estimate_interval(replicates[SILENCE][measure], number),
            )
    return curves


def _build_panels(report: ContextReport) -> list[Panel]:
    windows = [(2 * k + 1) / FPS for k in range(report.settings["reach"] + 1)]
    by_measure = list(report.curves.values())[-1]
    panels = []
    for measure, up in MEASURE_LABELS.items():
        gain_s = by_measure[measure].window_s.value
        panels.append(
            Panel(
                title=f"{report.settings['model']}: {measure}",
                x_label="window of sound, s",
                y_label=up,
                lines={part: (windows, curves[measure].points) for part, curves in report.curves.items()},
                hlines={f"{part}, whole clip": curves[measure].whole.value for part, curves in report.curves.items()},
                vlines={f"published {PUBLISHED_S:g} s": PUBLISHED_S}
                | ({} if math.isnan(gain_s) else {f"95 % of the gain, {gain_s:.2f} s": gain_s}),
            )
        )
    return panels


def _format_seconds(found: Estimate) -> str:
    interval = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.value:.2f} s{interval}"
