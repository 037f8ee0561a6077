"""`cals evaluate quick`: held-out clips driven by their own and by others' sound, in minutes."""

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import cals
from cals import hub
from cals.data.manifest import ClipSource
from cals.data.shards import writing
from cals.data.sources import grid
from cals.errors import DataError
from cals.evaluation.clips import ClipsConfig, evenly, names_of
from cals.evaluation.drives import RealClip, read_clip, said_by, write_rolled
from cals.evaluation.entrants import shown_copy, shown_model
from cals.evaluation.offsets import load_sync, offset_scores
from cals.evaluation.scores import Drives, scores
from cals.evaluation.table import LEGEND, Means, means, plain, score_tables, target_rows, target_table
from cals.face.detector import BlazeFaceMesh, FaceDetector, FaceModels
from cals.face.draw import contact_sheet
from cals.inference.lipsync import LipSync
from cals.inference.report import new_file
from cals.models.sync import SyncModel
from cals.types import U8, ProgressCallback

logger = logging.getLogger(__name__)

MIN_FRAMES = 25
"""A clip with fewer usable frames is left out: correlations over less than a second say little."""
SHEET_CLIPS, SHEET_FRAMES = 3, 10
"""Clips a part on the contact sheet, and frames of each."""


@dataclass(frozen=True, kw_only=True)
class QuickConfig(ClipsConfig):
    """Which clips are looked at."""


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """What was measured of one clip."""

    part: str
    clip: str
    heard: str
    """Whose sound drove it across; its own, rolled, where its speaker has no other one."""
    frames: int
    used: int
    """Frames that every method was judged on."""
    scores: dict[str, dict[str, float]]
    """Method -> measure -> value; none where fewer than `MIN_FRAMES` were usable."""


@dataclass
class QuickReport:
    """All of it."""

    settings: dict[str, Any]
    clips: list[ClipResult] = field(default_factory=list)

    @property
    def means(self) -> Means:
        return means([(result.part, result.scores) for result in self.clips if result.scores])

    def counts(self) -> str:
        """How much of it was judged."""
        used = [result for result in self.clips if result.scores]
        frames, judged = sum(result.frames for result in used), sum(result.used for result in used)
        left_out = ", ".join(result.clip for result in self.clips if not result.scores)
        return f"{len(used)} of {len(self.clips)} clips judged, on {judged} of their {frames} frames" + (
            f"; left out: {left_out}" if left_out else ""
        )

    def tables(self) -> str:
        """Scores, targets and counts as text that is Markdown too."""
        found = self.means
        return "\n\n".join(filter(None, (score_tables(found), target_table(found), self.counts())))

    def document(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        found = self.means
        targets = [
            {"target": t.label, "part": part, "wanted": t.wanted[part], "reached": reached, "met": t.met(part, reached)}
            for t, part, reached in target_rows(found)
        ]
        whole = {"settings": self.settings, "means": found, "targets": targets, "clips": list(map(asdict, self.clips))}
        return {"format": 1} | {name: plain(value) for name, value in whole.items()}

    def markdown(self) -> str:
        """The report to read."""
        settings = "\n".join(f"- {name}: {value}" for name, value in self.settings.items())
        return f"# Quick evaluation of {self.settings['model']}\n\n{settings}\n\n{self.tables()}\n\n{LEGEND}"


def quick(
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
    """Judge `lips` on held-out clips; writes `quick.json`, `quick.md` and `sheet.png` into `out`, all or none.

    Raises DataError when the splits name no clips of the corpus or none is usable.
    """
    chosen = _chosen(corpus, splits, config)
    encoders = None if sync is None else load_sync(sync)
    detector = BlazeFaceMesh(FaceModels(*hub.face_model_bytes(face_models)))
    report = QuickReport(_settings(corpus, splits, lips, config, sync))
    sheet: list[tuple[str, U8]] = []
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        places = [
            files.enter_context(new_file(out / name, force=force, apart_from=(splits,)))
            for name in ("quick.json", "quick.md", "sheet.png")
        ]
        for done, (part, source, partner) in enumerate(chosen):
            if progress is not None:
                progress(done, len(chosen))
            result, drives = _judged(part, source, partner, lips, detector, encoders)
            report.clips.append(result)
            if drives is not None and sum(r.part == part and bool(r.scores) for r in report.clips) <= SHEET_CLIPS:
                sheet += _strips(result.clip, drives)
        if not sheet:
            raise DataError(f"{corpus}: expected clips with a face in {MIN_FRAMES} frames, found none; name another")
        if progress is not None:
            progress(len(chosen), len(chosen))
        texts = json.dumps(report.document(), indent=1, allow_nan=False), report.markdown()
        picture = contact_sheet([image for _, image in sheet], SHEET_FRAMES, [label for label, _ in sheet])
        for place, text in zip(places[:2], texts, strict=True):
            place.write_text(text + "\n", encoding="utf-8")
        encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        places[2].write_bytes(encoded.tobytes())
    return report


def _settings(corpus: Path, splits: Path, lips: LipSync, config: QuickConfig, sync: Path | None) -> dict[str, Any]:
    network = lips.model.network
    low = any("forward" in part.__dict__ for part in network.modules())  # as `draw_in` leaves what draws in bf16
    return {
        "model": f"{lips.model.name} ({lips.model.fingerprint})",
        "precision": "bf16" if low else "fp32",
        "device": str(next(network.parameters()).device),
        "batch": lips.batch,
        "corpus": str(corpus),
        "splits": str(splits),
        "parts": list(config.parts),
        "clips": config.clips,
        "sync": None if sync is None else str(sync),
        "cals": cals.__version__,
    }


def _chosen(corpus: Path, splits: Path, config: QuickConfig) -> list[tuple[str, ClipSource, ClipSource]]:
    """Part, clip and the clip whose sound drives it across: its speaker's next one in the part, or itself."""
    there = {clip.name: clip for clip in grid.clips(corpus)}
    chosen = []
    for part in config.parts:
        names = names_of(there, corpus, splits, part)
        for clip in (there[name] for name in evenly(names, config.clips)):
            of_speaker = [there[name] for name in names if there[name].speaker == clip.speaker]
            partner = of_speaker[(of_speaker.index(clip) + 1) % len(of_speaker)]
            chosen.append((part, clip, partner))
    return chosen


def _judged(
    part: str,
    source: ClipSource,
    partner: ClipSource,
    lips: LipSync,
    detector: FaceDetector,
    encoders: SyncModel | None,
) -> tuple[ClipResult, Drives | None]:
    """One clip's result, and what was made of it if enough of it could be judged."""
    clip = read_clip(source, detector)
    drives, found, used = None, {}, int(clip.seen.valid.sum())
    if used >= MIN_FRAMES:
        speaker = clip if partner == source else read_clip(partner, detector)
        drives = _drives(clip, speaker, lips, detector)
        used = int(drives.usable.sum())
    if drives is not None and used >= MIN_FRAMES:
        found = scores(drives)
        if encoders is not None:
            found["real"] = offset_scores(clip, clip.seen, encoders)
            found["self"] |= offset_scores(clip, drives.self_driven, encoders)
    else:
        logger.warning("%s: left out, with %d usable frames of %d", source.name, used, len(clip.frames))
        drives = None
    result = ClipResult(
        part=part, clip=source.name, heard=partner.name, frames=len(clip.frames), used=used, scores=found
    )
    return result, drives


def _drives(clip: RealClip, speaker: RealClip, lips: LipSync, detector: FaceDetector) -> Drives:
    """What is made of a clip whose face `speaker` drives across."""
    with tempfile.TemporaryDirectory() as place:
        rolled = Path(place) / "rolled.wav"
        write_rolled(speaker, rolled)
        return Drives(
            real=clip.seen,
            self_driven=shown_model(clip, clip.source.video, lips, detector).seen,
            cross_driven=shown_model(clip, rolled, lips, detector).seen,
            meant=said_by(speaker, clip),
            copied=shown_copy(clip, detector).seen,
            silent=clip.silent,
        )


def _strips(name: str, drives: Drives) -> Iterator[tuple[str, U8]]:
    """Labelled crops: a row of the real clip and one for each way of making it, at the same moments."""
    usable = np.flatnonzero(drives.usable)
    moments = usable[np.linspace(0, len(usable) - 1, SHEET_FRAMES).round().astype(int)]
    rows = {"real": drives.real, "self": drives.self_driven, "cross": drives.cross_driven, "copy": drives.copied}
    for method, seen in rows.items():
        for column, moment in enumerate(moments):
            yield (name if method == "real" and not column else f"{method} {moment}"), seen.crops[moment]
