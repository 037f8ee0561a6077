"""`cals noisy`: mouths from sound with bursts of noise, with and without masking the bursts (protocol ours)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cals.data.corruption.noise import VOICES
from cals.evaluation.clips import ClipsConfig, sample_evenly
from cals.evaluation.journal import Journal
from cals.evaluation.results import open_results
from cals.evaluation.studies.common import (
    StudyReport,
    build_reader,
    describe_settings,
    format_counts,
    group_by_part,
    load_clips,
    measure_clips,
    select_clips,
    write_report,
)
from cals.evaluation.studies.curves import MEASURE_LABELS
from cals.evaluation.studies.masking import check_a2l, load_a2l
from cals.evaluation.studies.mouth_readers import check_crops
from cals.evaluation.studies.noisy_clips import (
    DROPOUT,
    LEVEL,
    METHODS,
    NOISY,
    RULES,
    SCORED,
    TOLD,
    NoiseTrial,
    NoisyConfig,
    NoisyRecord,
    name_series,
)
from cals.evaluation.studies.points import Points, describe_points, estimate_points, tabulate_points
from cals.evaluation.studies.reliance import check_scores, fit_rules
from cals.features.mel import MelConfig
from cals.inference.lipsync import LipSync
from cals.inference.load import LoadedRecognizer
from cals.metrics.bootstrap import Estimate, estimate_interval, estimate_ratio, sample_clip_counts
from cals.metrics.reliability import bootstrap_auc
from cals.report.plots import Panel, draw_panels, load_pyplot
from cals.report.rounding import round_estimate
from cals.report.tables import format_table
from cals.types import F32, ProgressCallback

FILES = ("noisy.json", "noisy.md", "noisy.png")
PAIRS = ((NOISY, SCORED), (NOISY, TOLD), (LEVEL, SCORED))
"""Pairs whose paired difference is reported with its own interval."""
CLEAN_PART, CLEAN_CLIPS = "train", 50
"""Part, and maximum number, of the clean clips that the rules are fitted to; without splits, of all clips."""

Detection = dict[str, Estimate]
"""AUC, and for each rule the share of corrupted frames that it masks and that of clean ones."""


@dataclass(frozen=True, kw_only=True)
class NoisyReport(StudyReport):
    """Points and detection of all parts."""

    clips: Sequence[NoisyRecord]
    points: dict[str, dict[str, Points]]
    """Part -> condition -> values."""
    detection: dict[str, dict[str, Detection]]
    """Part -> condition -> detection of corrupted frames."""

    def describe_results(self) -> dict[str, Any]:
        detection = {
            part: {name: {what: round_estimate(e) for what, e in of.items()} for name, of in by_condition.items()}
            for part, by_condition in self.detection.items()
        }
        return {"points": describe_points(self.points), "detection": detection}

    def format_summary(self) -> str:
        columns = list(next(iter(next(iter(self.detection.values())).values())))
        rows = [
            [part, name, *(str(of[column]) for column in columns)]
            for part, by_condition in self.detection.items()
            for name, of in by_condition.items()
        ]
        corrupted = sum(len(record.corrupted) for record in self.clips)
        clean = sum(record.frames for record in self.clips) - corrupted
        return "\n\n".join(
            [
                tabulate_points(self.points, "sound"),
                f"What is hidden, of {corrupted} corrupted frames and {clean} clean ones:\n\n"
                + format_table(["part", "sound", *columns], rows),
                format_counts(self.clips),
            ]
        )

    def format_markdown(self) -> str:
        return self.format_page(
            f"Mouths of {self.settings['model']} under a noisy sound",
            "![Lines](noisy.png)\n\nOnly truly corrupted frames are judged. clean: the sound without noise; noisy: "
            "heard as it is; told: the corrupted frames hidden, the best that a rule could do; scored: those hidden "
            f"whose reliability is under {self.settings['least_score']:g}; level: those hidden whose lasting level is "
            "unusual. A rule helps where noisy - scored is below 0 for the opening and above 0 for lmd. AUC: how often "
            "a corrupted frame is relied on less than a clean one, among those of all clips. hit rate: share of the "
            "corrupted frames that is hidden; false alarms: that of the clean ones.",
        )


def measure_noisy(
    lips: LipSync,
    recogniser: LoadedRecognizer,
    corpus: Path,
    out: Path,
    config: NoisyConfig,
    *,
    a2l: Path | None = None,
    splits: Path | None = None,
    face_models: Path | None = None,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> NoisyReport:
    """Measure on a prepared corpus; writes the `FILES` into `out`, all or none.

    `a2l` replaces the model's own Audio-to-Lip. Interrupted work is resumed. Raises ConfigError for a recogniser
    that does not score sound, DataError when the corpus has no clips to measure.
    """
    load_pyplot()
    network, reference = check_a2l(lips.model.network), recogniser.network
    check_crops(network)
    check_scores(reference)
    picks = select_clips(corpus, splits, config)
    settings = describe_settings(lips, corpus, splits, config) | {
        "recogniser": f"{recogniser.name} ({recogniser.fingerprint})",
        "a2l": None if a2l is None else f"{a2l} ({load_a2l(network, a2l)})",
        "kinds": list(config.kinds),
        "snr_db": list(config.snr_db),
    }
    reader = build_reader(config.measure, face_models, lips.batch)
    with open_results(out, FILES, force=force) as (document, text, picture):
        wavs = load_clean(corpus, splits, network.mel)
        rules = fit_rules(reference, wavs.values())
        settings |= {"clean_clips": len(wavs), **asdict(rules)}
        voices = {key: wavs[key] for key in sample_evenly(list(wavs), 2 * VOICES)}
        journal = Journal(out / ".noisy.jsonl", settings, NoisyRecord.document, NoisyRecord.read, force=force)
        trial = NoiseTrial(
            network=network, recogniser=reference, rules=rules, reader=reader, config=config, voices=voices
        )
        records = measure_clips(corpus, picks, network.mel, journal, trial.measure, progress)
        parts = group_by_part(records)
        report = NoisyReport(
            settings=settings,
            clips=records,
            points={part: compare_conditions(of_part, config) for part, of_part in parts.items()},
            detection={part: evaluate_rules(of_part, config) for part, of_part in parts.items()},
        )
        write_report(report, document, text)
        draw_panels(picture, _build_panels(report, config))
    journal.close()
    return report


def load_clean(corpus: Path, splits: Path | None, mel: MelConfig) -> dict[str, F32]:
    """Load the sounds [n], by key, that the rules are fitted to and babble is mixed from."""
    picks = select_clips(corpus, splits, ClipsConfig(parts=(CLEAN_PART,), clips=CLEAN_CLIPS))
    return {pick.key: clip.wav for pick, clip in load_clips(corpus, picks, mel)}


def compare_conditions(records: Sequence[NoisyRecord], config: NoisyConfig) -> dict[str, Points]:
    """Estimate measures and differences of the methods for each condition; differences are of the same resamples."""
    resamples = sample_clip_counts(len(records), config.seed)
    return {
        condition.name: estimate_points(
            records, {way: name_series(way, condition) for way in METHODS}, PAIRS, resamples
        )
        for condition in config.conditions
    }


def evaluate_rules(records: Sequence[NoisyRecord], config: NoisyConfig) -> dict[str, Detection]:
    """Estimate for each condition how well corrupted frames are detected."""
    target = [record.mask(record.corrupted) for record in records]
    by_condition = {}
    for condition in config.conditions:
        scores = [np.array(record.scores[condition.name], dtype=np.float32) for record in records]
        replicates = bootstrap_auc(list(zip(scores, target, strict=True)), config.seed)
        detection = {"AUC": estimate_interval(replicates, len(records))}
        for way in RULES:
            hidden = [record.mask(record.hidden[name_series(way, condition)]) for record in records]
            for name, kind in ((f"{way}: hit rate", target), (f"{way}: false alarms", [~mask for mask in target])):
                parts = np.array([np.sum(a & b) for a, b in zip(hidden, kind, strict=True)], dtype=np.float64)
                wholes = np.array([np.sum(mask) for mask in kind], dtype=np.float64)
                detection[name] = estimate_ratio(parts, wholes, config.seed)
        by_condition[condition.name] = detection
    return by_condition


def _build_panels(report: NoisyReport, config: NoisyConfig) -> list[list[Panel]]:
    """Build a row of panels for each measure, a panel for each kind, of all parts together or the only one."""
    part, points = list(report.points.items())[-1]
    return [
        [_build_panel(kind, f"{kind}, {part}: {measure}", up, points, measure, config) for kind in config.kinds]
        for measure, up in MEASURE_LABELS.items()
    ]


def _build_panel(kind: str, title: str, up: str, points: dict[str, Points], measure: str, config: NoisyConfig) -> Panel:
    """Build lines over the strengths of a kind, or points side by side where it has none."""
    of_kind = sorted((one for one in config.conditions if one.kind == kind), key=lambda one: one.strength)
    lines = {
        way: (
            [float(x)] if kind == DROPOUT else [one.strength for one in of_kind],
            [points[one.name][measure][way] for one in of_kind],
        )
        for x, way in enumerate(METHODS)
    }
    across = "no strengths: one way beside the other" if kind == DROPOUT else "speech over noise, dB"
    return Panel(title=title, x_label=across, y_label=up, lines=lines)
