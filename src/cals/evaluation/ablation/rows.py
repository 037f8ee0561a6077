"""Scores of `cals ablation`: the rows of Table 1 on held-out clips, beside the published ones."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cals import hub
from cals.checkpoint import compute_weights_sha256
from cals.data.manifest import ClipSource
from cals.data.sources import grid
from cals.errors import DataError
from cals.evaluation.ablation.order import Scores, describe_order, format_mean_table
from cals.evaluation.clips import ClipsConfig, sample_evenly, select_names
from cals.evaluation.drives import AlignedFaces, RealClip, read_clip
from cals.evaluation.offsets import compute_clip_lse, load_sync
from cals.evaluation.outputs import generate_output
from cals.evaluation.scores import score_motion, score_pixels
from cals.face.detector import BlazeFaceMesh, FaceDetector, FaceModels
from cals.face.draw import encode_png, render_contact_sheet
from cals.files import replace_atomically
from cals.inference.lipsync import LipSync
from cals.models.sync import SyncModel
from cals.types import ProgressCallback

logger = logging.getLogger(__name__)

MIN_FRAMES = 25
"""Fewest usable frames of a clip that is scored, as in the quick evaluation."""
STRIP_FRAMES = 10
SCORES, REPORT = "scores.json", "report"
LEGEND = """\
- Self-driven, as published: each face says its own sound. Values are means over clips; PSNR and SSIM of the 128 px
  crop, LMD in its pixels. All rows are judged on the same frames, those in which each row's video shows the face.
- LSE-D and LSE-C are by our sync encoders, not by SyncNet: their scale is another one, only the order can be compared.
  Encoders that have also trained the rows flatter those that had a sync loss.
- `real`: the clips themselves. PSNR and SSIM there are of equal pictures.
- The paper's figures are of LRS2 and of full training; ours are of a small budget. Only the order is compared.
- Two rows are told apart where the 95 % bootstrap interval (over clips) of their difference leaves out 0; with fewer
  than 6 clips none are.
"""


@dataclass(frozen=True)
class AblationReport:
    """Scores of the rows, and how these were trained."""

    notes: Mapping[str, str]
    """Row -> how it was trained."""
    clips: list[dict[str, Any]]
    """Part, clip, frames, used frames, and scores by row."""

    @property
    def scores(self) -> Scores:
        """Part -> row -> measure -> value of every clip."""
        used = [clip for clip in self.clips if clip["scores"]]
        scores: Scores = {}
        for clip in used:
            for row, values in clip["scores"].items():
                for measure, value in values.items():
                    by_clip = scores.setdefault(clip["part"], {}).setdefault(row, {}).setdefault(measure, {})
                    by_clip[clip["clip"]] = value
        return scores

    def format_counts(self) -> str:
        """Format how many clips and frames were scored."""
        used = [clip for clip in self.clips if clip["scores"]]
        left_out = ", ".join(clip["clip"] for clip in self.clips if not clip["scores"])
        judged, frames = sum(clip["used"] for clip in used), sum(clip["frames"] for clip in used)
        return f"{len(used)} of {len(self.clips)} clips judged, on {judged} of their {frames} frames" + (
            f"; left out: {left_out}" if left_out else ""
        )

    def format_text(self) -> str:
        """Format tables, order and counts as text that is Markdown too."""
        return "\n\n".join(
            [format_mean_table(self.scores), "\n".join(describe_order(self.scores)), self.format_counts()]
        )

    def format_markdown(self) -> str:
        """Format the report as Markdown."""
        rows = "\n".join(f"- {row}: {note}" for row, note in self.notes.items())
        return f"# Ablation (Table 1)\n\n{rows}\n\n{self.format_text()}\n\n{LEGEND}"

    def document(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        means = {
            part: {
                row: {measure: float(np.mean(list(values.values()))) for measure, values in measures.items()}
                for row, measures in rows.items()
            }
            for part, rows in self.scores.items()
        }
        words = describe_order(self.scores)
        return {"format": 1, "rows": dict(self.notes), "means": means, "order": words, "clips": self.clips}


def score_rows(
    models: Mapping[str, Path],
    notes: Mapping[str, str],
    videos: Path,
    splits: Path,
    judge: Path,
    out: Path,
    config: ClipsConfig,
    *,
    face_models: Path | None = None,
    device: str = "cpu",
    progress: ProgressCallback | None = None,
) -> AblationReport:
    """Score the rows' models by the sync encoders `judge`; writes report.json, report.md and a picture a part to `out`.

    Earlier scores are kept if the models and the judge are the same. Raises DataError when the splits name no clips of
    `videos` or none is usable.
    """
    selection = _select_clips(videos, splits, config)
    encoders = load_sync(judge)
    detector = BlazeFaceMesh(FaceModels(*hub.read_face_models(face_models)))
    lips = {row: LipSync(model, face_models=face_models, device=device) for row, model in models.items()}
    key = {row: compute_weights_sha256(model) for row, model in models.items()} | {
        "judge": compute_weights_sha256(judge)
    }
    finished = _read_scores(out / SCORES, key)
    clips: list[dict[str, Any]] = []
    for index, (part, source) in enumerate(selection):
        if progress is not None:
            progress(index, len(selection))
        strips = out / f"strips-{part}.png"
        first = not any(clip["scores"] for clip in clips if clip["part"] == part)
        result = finished.get(source.name)
        if result is None or (first and result["scores"] and not strips.is_file()):
            result, rows = _score_clip(source, lips, detector, encoders)
            if first and rows:
                _write_strips(strips, source.name, rows)
            finished[source.name] = result
            with replace_atomically(out / SCORES) as partial:
                partial.write_text(json.dumps({"key": key, "clips": finished}), encoding="utf-8")
        clips.append({"part": part} | result)
    if progress is not None:
        progress(len(selection), len(selection))
    report = AblationReport(notes, clips)
    if not report.scores:
        raise DataError(f"{videos}: expected clips with a face in {MIN_FRAMES} frames, found none; name another")
    for suffix, text in ((".json", json.dumps(report.document(), indent=1)), (".md", report.format_markdown())):
        with replace_atomically(out / f"{REPORT}{suffix}") as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    return report


def _select_clips(videos: Path, splits: Path, config: ClipsConfig) -> list[tuple[str, ClipSource]]:
    """Select clips, each with its part."""
    clips = {clip.name: clip for clip in grid.list_clips(videos)}
    return [
        (part, clips[name])
        for part in config.parts
        for name in sample_evenly(select_names(clips, videos, splits, part), config.clips)
    ]


def _read_scores(path: Path, key: dict[str, str]) -> dict[str, Any]:
    """Read earlier scores of the same models by the same judge, by clip."""
    if not path.is_file():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    return dict(document["clips"]) if document["key"] == key else {}


def _score_clip(
    source: ClipSource, lips: Mapping[str, LipSync], detector: FaceDetector, encoders: SyncModel
) -> tuple[dict[str, Any], dict[str, AlignedFaces]]:
    """Score a clip by row; returns its scores and the faces of each row, without both for too few usable frames."""
    clip = read_clip(source, detector)
    rows: dict[str, AlignedFaces] = {"real": clip.faces}
    if clip.faces.valid.sum() >= MIN_FRAMES:
        rows |= {row: generate_output(clip, source.video, model, detector).faces for row, model in lips.items()}
    use = np.asarray(np.all([seen.valid for seen in rows.values()], axis=0))
    result = {"clip": source.name, "frames": len(clip.frames), "used": int(use.sum()), "scores": {}}
    if use.sum() < MIN_FRAMES:
        logger.warning("%s: left out, with %d usable frames of %d", source.name, use.sum(), len(clip.frames))
        return result, {}
    rows = {row: replace(seen, valid=use) for row, seen in rows.items()}
    result["scores"] = {row: _compute_scores(clip, seen, encoders) for row, seen in rows.items()}
    return result, rows


def _compute_scores(clip: RealClip, seen: AlignedFaces, encoders: SyncModel) -> dict[str, float]:
    use, real = seen.valid, clip.faces
    landmarks = real.landmarks[use]
    measures = score_motion(seen.landmarks[use], landmarks) | score_pixels(seen.crops[use], real.crops[use], landmarks)
    scores = {name: measures[name] for name in ("psnr", "ssim", "lmd", "psnr_lips", "opening")}
    lse = compute_clip_lse(clip, seen, encoders)
    if lse is None:
        return scores
    return scores | {"lse_d": lse.lse_d, "lse_c": lse.lse_c, "offset_frames": float(lse.offset_frames)}


def _write_strips(path: Path, name: str, rows: Mapping[str, AlignedFaces]) -> None:
    """Write a strip for each row, at the same moments."""
    usable = np.flatnonzero(next(iter(rows.values())).valid)
    moments = usable[np.linspace(0, len(usable) - 1, STRIP_FRAMES).round().astype(int)]
    crops = [seen.crops[moment] for seen in rows.values() for moment in moments]
    labels = [f"{row} {name}" if row == "real" else row for row in rows]
    sheet = render_contact_sheet(
        crops, STRIP_FRAMES, [text for row in labels for text in [row, *[""] * (STRIP_FRAMES - 1)]]
    )
    with replace_atomically(path) as partial:
        partial.write_bytes(encode_png(sheet))
