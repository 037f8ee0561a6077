"""`cals evaluate quick`: self-driven and cross-driven scores on held-out clips, in minutes."""

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import cals
from cals import hub
from cals.data.manifest import ClipSource
from cals.data.sources import grid
from cals.errors import DataError
from cals.evaluation.clips import ClipsConfig, sample_evenly, select_names
from cals.evaluation.drives import RealClip, read_clip, roll_sound, roll_target
from cals.evaluation.offsets import load_sync, score_offset
from cals.evaluation.outputs import build_copy_output, generate_output
from cals.evaluation.results import open_results, write_json
from cals.evaluation.scores import ClipOutputs, score_clip
from cals.evaluation.table import (
    LEGEND,
    Means,
    average_scores,
    format_score_tables,
    format_target_table,
    list_targets,
)
from cals.face.detector import BlazeFaceMesh, FaceDetector, FaceModels
from cals.face.draw import encode_png, render_contact_sheet
from cals.inference.lipsync import LipSync
from cals.models.sync import SyncModel
from cals.report.rounding import round_for_json
from cals.report.tables import format_settings
from cals.types import U8, ProgressCallback

logger = logging.getLogger(__name__)

FILES = ("quick.json", "quick.md", "sheet.png")
MIN_FRAMES = 25
"""Fewest usable frames of a clip that is scored: correlations over less than a second say little."""
SHEET_CLIPS, SHEET_FRAMES = 3, 10
"""Clips a part on the contact sheet, and frames of each."""


@dataclass(frozen=True, kw_only=True)
class QuickConfig(ClipsConfig):
    """Selection of the clips."""


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """Scores of one clip."""

    part: str
    clip: str
    heard: str
    """Clip whose sound cross-drives it; its own, rolled, where its speaker has no other one."""
    frames: int
    used: int
    """Frames that every method was scored on."""
    scores: dict[str, dict[str, float]]
    """Method -> measure -> value; none where fewer than `MIN_FRAMES` were usable."""


@dataclass
class QuickReport:
    """Scores of all clips."""

    settings: dict[str, Any]
    clips: list[ClipResult] = field(default_factory=list)

    @property
    def means(self) -> Means:
        return average_scores([(result.part, result.scores) for result in self.clips if result.scores])

    def format_counts(self) -> str:
        """Format how many clips and frames were scored."""
        used = [result for result in self.clips if result.scores]
        frames, scored = sum(result.frames for result in used), sum(result.used for result in used)
        left_out = ", ".join(result.clip for result in self.clips if not result.scores)
        return f"{len(used)} of {len(self.clips)} clips judged, on {scored} of their {frames} frames" + (
            f"; left out: {left_out}" if left_out else ""
        )

    def format_tables(self) -> str:
        """Format scores, targets and counts as text that is Markdown too."""
        means_by_part = self.means
        return "\n\n".join(
            filter(None, (format_score_tables(means_by_part), format_target_table(means_by_part), self.format_counts()))
        )

    def document(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        means_by_part = self.means
        targets = [
            {
                "target": t.label,
                "part": part,
                "wanted": t.ranges[part],
                "reached": reached,
                "met": t.is_met(part, reached),
            }
            for t, part, reached in list_targets(means_by_part)
        ]
        report = {
            "settings": self.settings,
            "means": means_by_part,
            "targets": targets,
            "clips": list(map(asdict, self.clips)),
        }
        return {"format": 1} | {name: round_for_json(value) for name, value in report.items()}

    def format_markdown(self) -> str:
        """Format the report as Markdown."""
        settings = format_settings(self.settings)
        return f"# Quick evaluation of {self.settings['model']}\n\n{settings}\n\n{self.format_tables()}\n\n{LEGEND}"


def evaluate_quick(
    corpus: Path,
    splits: Path,
    lips: LipSync,
    out: Path,
    config: QuickConfig,
    *,
    sync: Path | None = None,
    face_models: Path | None = None,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> QuickReport:
    """Score `lips` on held-out clips; writes `quick.json`, `quick.md` and `sheet.png` into `out`, all or none.

    Raises DataError when the splits name no clips of the corpus or none is usable.
    """
    selection = _select_clips(corpus, splits, config)
    encoders = None if sync is None else load_sync(sync)
    detector = BlazeFaceMesh(FaceModels(*hub.read_face_models(face_models)))
    report = QuickReport(_describe_settings(corpus, splits, lips, config, sync))
    strips: list[tuple[str, U8]] = []
    with open_results(out, FILES, force=force, reserved=(splits,)) as (document, text, picture):
        for index, (part, source, partner) in enumerate(selection):
            if progress is not None:
                progress(index, len(selection))
            result, drives = _score_clip(part, source, partner, lips, detector, encoders)
            report.clips.append(result)
            if drives is not None and sum(r.part == part and bool(r.scores) for r in report.clips) <= SHEET_CLIPS:
                strips += _iterate_strips(result.clip, drives)
        if not strips:
            raise DataError(f"{corpus}: expected clips with a face in {MIN_FRAMES} frames, found none; name another")
        if progress is not None:
            progress(len(selection), len(selection))
        sheet = render_contact_sheet([image for _, image in strips], SHEET_FRAMES, [label for label, _ in strips])
        write_json(document, report.document())
        text.write_text(report.format_markdown() + "\n", encoding="utf-8")
        picture.write_bytes(encode_png(sheet))
    return report


def _describe_settings(
    corpus: Path, splits: Path, lips: LipSync, config: QuickConfig, sync: Path | None
) -> dict[str, Any]:
    network = lips.model.network
    # `set_precision` sets `forward` on modules that run in bf16
    is_bf16 = any("forward" in part.__dict__ for part in network.modules())
    return {
        "model": f"{lips.model.name} ({lips.model.fingerprint})",
        "precision": "bf16" if is_bf16 else "fp32",
        "device": str(next(network.parameters()).device),
        "batch": lips.batch,
        "corpus": str(corpus),
        "splits": str(splits),
        "parts": list(config.parts),
        "clips": config.clips,
        "sync": None if sync is None else str(sync),
        "cals": cals.__version__,
    }


def _select_clips(corpus: Path, splits: Path, config: QuickConfig) -> list[tuple[str, ClipSource, ClipSource]]:
    """Select part, clip and the clip whose sound cross-drives it: its speaker's next one in the part, or itself."""
    clips = {clip.name: clip for clip in grid.list_clips(corpus)}
    selection = []
    for part in config.parts:
        names = select_names(clips, corpus, splits, part)
        for clip in (clips[name] for name in sample_evenly(names, config.clips)):
            same_speaker = [clips[name] for name in names if clips[name].speaker == clip.speaker]
            partner = same_speaker[(same_speaker.index(clip) + 1) % len(same_speaker)]
            selection.append((part, clip, partner))
    return selection


def _score_clip(
    part: str,
    source: ClipSource,
    partner: ClipSource,
    lips: LipSync,
    detector: FaceDetector,
    encoders: SyncModel | None,
) -> tuple[ClipResult, ClipOutputs | None]:
    """Score one clip; returns its result, and its generated videos if enough frames are usable."""
    clip = read_clip(source, detector)
    drives, by_method, used = None, {}, int(clip.faces.valid.sum())
    if used >= MIN_FRAMES:
        speaker = clip if partner == source else read_clip(partner, detector)
        drives = _generate_drives(clip, speaker, lips, detector)
        used = int(drives.usable.sum())
    if drives is not None and used >= MIN_FRAMES:
        by_method = score_clip(drives)
        if encoders is not None:
            by_method["real"] = score_offset(clip, clip.faces, encoders)
            by_method["self"] |= score_offset(clip, drives.self_driven, encoders)
    else:
        logger.warning("%s: left out, with %d usable frames of %d", source.name, used, len(clip.frames))
        drives = None
    result = ClipResult(
        part=part, clip=source.name, heard=partner.name, frames=len(clip.frames), used=used, scores=by_method
    )
    return result, drives


def _generate_drives(clip: RealClip, speaker: RealClip, lips: LipSync, detector: FaceDetector) -> ClipOutputs:
    """Generate the videos of a clip that `speaker` cross-drives."""
    with tempfile.TemporaryDirectory() as folder:
        rolled = Path(folder) / "rolled.wav"
        roll_sound(speaker, rolled)
        return ClipOutputs(
            real=clip.faces,
            self_driven=generate_output(clip, clip.source.video, lips, detector).faces,
            cross_driven=generate_output(clip, rolled, lips, detector).faces,
            target=roll_target(speaker, clip),
            copy=build_copy_output(clip, detector).faces,
            silent=clip.silent,
        )


def _iterate_strips(name: str, drives: ClipOutputs) -> Iterator[tuple[str, U8]]:
    """Iterate over labelled crops: a row of the real clip and one for each method, at the same moments."""
    usable = np.flatnonzero(drives.usable)
    moments = usable[np.linspace(0, len(usable) - 1, SHEET_FRAMES).round().astype(int)]
    rows = {"real": drives.real, "self": drives.self_driven, "cross": drives.cross_driven, "copy": drives.copy}
    for method, seen in rows.items():
        for column, moment in enumerate(moments):
            yield (name if method == "real" and not column else f"{method} {moment}"), seen.crops[moment]
