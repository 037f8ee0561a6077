"""`cals masked`: mouths generated while their own sound is masked (paper section 1, Fig. 2; protocol ours)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cals.errors import ConfigError
from cals.evaluation.studies.common import (
    Pick,
    StudyConfig,
    StudyReport,
    build_reader,
    describe_settings,
    format_counts,
    group_by_part,
    load_clips,
    measure_clips,
    open_study,
    select_clips,
    write_report,
)
from cals.evaluation.studies.curves import MEASURE_LABELS, ClipRecord, Series, build_series
from cals.evaluation.studies.masked_sheet import render_masked_sheet
from cals.evaluation.studies.masking import MaskingMethod, build_methods, load_a2l
from cals.evaluation.studies.mouth_readers import MouthReader, PictureReader, StudyClip, check_crops
from cals.evaluation.studies.points import Points, describe_points, estimate_points, tabulate_points
from cals.face.draw import encode_png
from cals.inference.lipsync import LipSync
from cals.metrics.bootstrap import sample_clip_counts
from cals.report.plots import Panel, draw_panels, load_pyplot
from cals.types import ProgressCallback

FILES = ("masked.json", "masked.md", "masked.png", "sheet.png")
SHEET_CLIPS = 3
PAIRS = (("hidden", "silenced"), ("hidden", "baseline silenced"))
"""Pairs whose paired difference is reported with its own interval."""


@dataclass(frozen=True, kw_only=True)
class MaskedConfig(StudyConfig):
    """Length and position of what is masked."""

    every: int = 10
    lengths: tuple[int, ...] = (1, 3, 5, 8, 10, 15)
    """Numbers of frames masked around each moment."""
    margin: int = 10
    """Frames at either end of the clip that are never masked, so that masked frames have context."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lengths or min(self.lengths) < 1 or list(self.lengths) != sorted(set(self.lengths)):
            raise ConfigError(f"lengths: expected frames from 1 on, rising, found {self.lengths}; try 1 3 5 8 10 15")
        if self.margin < 0:
            raise ConfigError(f"margin: expected 0 frames or more, found {self.margin}; 10 is the default")


@dataclass(frozen=True, kw_only=True)
class MaskedReport(StudyReport):
    """Points of all parts."""

    points: dict[str, dict[int, Points]]
    """Part -> masked frames -> values."""

    def describe_results(self) -> dict[str, Any]:
        return {"points": describe_points(self.points)}

    def format_summary(self) -> str:
        return f"{tabulate_points(self.points, 'frames')}\n\n{format_counts(self.clips)}"

    def format_markdown(self) -> str:
        return self.format_page(
            f"Mouths of {self.settings['model']} while their sound is hidden",
            "![Curves](masked.png)\n\n![Frames around what is hidden](sheet.png)\n\nOnly hidden frames are judged. "
            "hidden: the training's corruption; silenced: digital silence in its place; full: nothing is taken away.",
        )


def measure_masking(
    lips: LipSync,
    corpus: Path,
    out: Path,
    config: MaskedConfig,
    *,
    baseline: LipSync | None = None,
    a2l: Path | None = None,
    splits: Path | None = None,
    face_models: Path | None = None,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> MaskedReport:
    """Measure on a prepared corpus; writes the `FILES` into `out`, all or none.

    `a2l` replaces the model's own Audio-to-Lip. Interrupted work is resumed. Raises DataError when the corpus
    has no clips to measure.
    """
    load_pyplot()
    network = lips.model.network
    baseline_network = None if baseline is None else baseline.model.network
    methods = build_methods(network, baseline_network)
    for way in methods:
        check_crops(way.network, network)
    picks = select_clips(corpus, splits, config)
    settings = describe_settings(lips, corpus, splits, config) | {
        "baseline": None if baseline is None else f"{baseline.model.name} ({baseline.model.fingerprint})",
        "a2l": None if a2l is None else f"{a2l} ({load_a2l(network, a2l)})",
        "lengths": list(config.lengths),
        "margin": config.margin,
    }
    reader = build_reader(config.measure, face_models, lips.batch)
    study = open_study(out, "masked", ClipRecord, settings, FILES[2:], force=force)
    with study as ((document, text, picture, sheet), journal):
        records = measure_clips(
            corpus,
            picks,
            network.mel,
            journal,
            lambda pick, subject: measure_clip(pick, subject, methods, reader, config),
            progress,
        )
        report = MaskedReport(settings=settings, clips=records, points=build_points(records, methods, config))
        write_report(report, document, text)
        draw_panels(picture, _build_panels(report, methods))
        picture_reader = build_reader("picture", face_models, lips.batch)
        assert isinstance(picture_reader, PictureReader)
        sheet_picks = _choose_clips(picks, records)
        rows = [
            row
            for _, clip in load_clips(corpus, sheet_picks, network.mel)
            for row in render_masked_sheet(StudyClip(clip), methods, picture_reader, config.margin)
        ]
        sheet.write_bytes(encode_png(np.concatenate(rows)))
    return report


def measure_clip(
    pick: Pick, subject: StudyClip, compared: list[MaskingMethod], reader: MouthReader, config: MaskedConfig
) -> ClipRecord:
    """Measure a clip's mouths where sound is masked around each moment, for every length and method."""
    clip, longest = subject.clip, config.lengths[-1]
    edge = config.margin + longest // 2
    moments = list(range(edge, clip.frames - config.margin - (longest - longest // 2) + 1, config.every))
    by_name: dict[str, Series] = {}
    dropped = 0
    if moments:
        frames = sorted({frame for span in build_spans(moments, longest) for frame in span})
        index_of = {frame: index for index, frame in enumerate(frames)}
        real = reader.read_real(subject, frames)
        unmasked = {
            way.name: reader.read_output(way.network, subject, way.predict_span_units(clip.mel, [frames]), frames)
            for way in compared
            if way.masking == "full"
        }
        for length in config.lengths:
            masked_spans = build_spans(moments, length)
            flat = [frame for span in masked_spans for frame in span]
            at = [index_of[frame] for frame in flat]
            generated = {
                name_series(way.name, length): unmasked[way.name][at]
                if way.masking == "full"
                else reader.read_output(way.network, subject, way.predict_span_units(clip.mel, masked_spans), flat)
                for way in compared
            }
            length_series, missing = build_series(real[at], generated)
            by_name |= length_series
            dropped += missing
    return ClipRecord(
        part=pick.part, clip=pick.key, frames=clip.frames, moments=moments, dropped=dropped, series=by_name
    )


def build_spans(moments: list[int], length: int) -> list[range]:
    """Build a span of `length` frames around each moment."""
    return [range(moment - length // 2, moment - length // 2 + length) for moment in moments]


def name_series(way: str, length: int) -> str:
    """Format the name of a series in a record."""
    return f"{way} {length}"


def build_points(
    records: list[ClipRecord], compared: list[MaskingMethod], config: MaskedConfig
) -> dict[str, dict[int, Points]]:
    """Compute part -> masked frames -> measure -> method -> value; differences are of the same resamples."""
    points: dict[str, dict[int, Points]] = {}
    for part, of_part in group_by_part(records).items():
        resamples = sample_clip_counts(len(of_part), config.seed)
        points[part] = {
            length: estimate_points(
                of_part, {way.name: name_series(way.name, length) for way in compared}, PAIRS, resamples
            )
            for length in config.lengths
        }
    return points


def _choose_clips(picks: list[Pick], records: list[ClipRecord]) -> list[Pick]:
    """Choose clips for the sheet: one of each of some speakers, evenly spaced among those that were measured."""
    measured_picks = [pick for pick, record in zip(picks, records, strict=True) if record.moments]
    by_speaker = list({(pick.part, pick.speaker): pick for pick in reversed(measured_picks)}.values())
    by_speaker.sort(key=lambda pick: (pick.part, pick.speaker))
    indices = np.unique(np.linspace(0, len(by_speaker) - 1, min(SHEET_CLIPS, len(by_speaker))).round().astype(int))
    return sorted((by_speaker[index] for index in indices), key=lambda pick: pick.shard)


def _build_panels(report: MaskedReport, compared: list[MaskingMethod]) -> list[list[Panel]]:
    return [
        [
            Panel(
                title=f"{report.settings['model']}, {part}: {measure}",
                x_label="frames hidden",
                y_label=up,
                lines={
                    way.name: (list(by_length), [by_measure[measure][way.name] for by_measure in by_length.values()])
                    for way in compared
                },
            )
            for measure, up in MEASURE_LABELS.items()
        ]
        for part, by_length in report.points.items()
    ]
