"""`cals evaluate heads`: how heads that are drawn whole are held, who they are, and whether they say the sound.

On prepared clips: one frame of a clip is the reference, its sound is said. PC-AVS takes the pose of another clip, which
it is to follow; Audio2Head moves the head by itself, and is compared with how the clip's own head really moved.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.data.shards import writing
from cals.data.store import ClipStore, LoadedClip, split_names
from cals.errors import ConfigError, DataError
from cals.evaluation.clips import ClipsConfig, evenly
from cals.evaluation.scores import openings
from cals.evaluation.table import plain
from cals.face.detector import FaceDetector
from cals.face.draw import contact_sheet
from cals.face.landmarks import mouth_opening
from cals.face.mesh_fit import fit_mesh, region_of_landmarks
from cals.face.picture import ArrayPicture
from cals.inference.load import LoadedModel
from cals.inference.report import new_file
from cals.metrics.identity import identity_similarity
from cals.metrics.motion import correlation, jitter, span
from cals.models.audio2head import Audio2Head
from cals.models.head import degrees, head_pose, head_shape, place_head
from cals.models.lips import Faces, Gallery, LipModel
from cals.models.pcavs import PCAVS
from cals.types import U8, ProgressCallback

BATCH = 16
SHEET_CLIPS, SHEET_FRAMES = 4, 8
MEANINGS = {
    "yaw": "correlation with the pose source's",
    "pitch": "the same",
    "yaw_span": "standard deviation over the real head's; 1 is as far",
    "pitch_span": "the same",
    "jitter": "second differences of yaw and pitch over the real head's; 1 is as restless",
    "identity": "likeness to the person's real frames (`metrics.identity`: 0.94 is one person, 0.84 another)",
    "opening": "correlation of the mouth's opening with that of the real mouth that said the sound",
    "span": "of the opening, over the real one's",
    "mesh": "score of the mesh in what was drawn; under 0.9 the rest cannot be trusted",
}


@dataclass(frozen=True, kw_only=True)
class HeadClip:
    """What was measured of one clip."""

    part: str
    clip: str
    posed_by: str
    """Whose pose was taken; nobody's where the model moves heads by itself."""
    scores: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class HeadReport:
    """All of it."""

    model: str
    clips: list[HeadClip] = field(default_factory=list)

    def means(self) -> dict[str, dict[str, float]]:
        """Part -> measure -> mean over the clips that have it."""
        found: dict[str, dict[str, float]] = {}
        for part in dict.fromkeys(clip.part for clip in self.clips):
            of_part = [clip.scores for clip in self.clips if clip.part == part]
            found[part] = {name: float(np.nanmean([scores[name] for scores in of_part])) for name in of_part[0]}
        return found

    def text(self) -> str:
        """The means as Markdown."""
        means = self.means()
        names = list(next(iter(means.values())))
        rows = [["measure", *means, "is"], ["---"] * (len(means) + 2)]
        rows += [[name, *(f"{scores[name]:.3f}" for scores in means.values()), MEANINGS[name]] for name in names]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def document(self) -> dict[str, object]:
        """All of it as JSON has it."""
        clips = [vars(clip) | {"scores": plain(clip.scores)} for clip in self.clips]
        return {"format": 1, "model": self.model, "means": plain(self.means()), "clips": clips}


def evaluate_heads(
    corpus: Path,
    splits: Path,
    model: LoadedModel,
    out: Path,
    config: ClipsConfig,
    detector: FaceDetector,
    *,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> HeadReport:
    """Measure `model` on the held-out clips of a prepared corpus; writes `heads.json` and `heads.png` into `out`.

    Raises ConfigError for a model that does not draw whole heads, and DataError for a corpus without the clips.
    """
    network = model.network
    if not isinstance(network, PCAVS | Audio2Head):
        raise ConfigError(f"heads: expected a model of PC-AVS or Audio2Head, found {model.name}; name another --model")
    report = HeadReport(model=f"{model.name} ({model.fingerprint})")
    rows: list[tuple[str, U8]] = []
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        names = ("heads.json", "heads.png")
        places = [files.enter_context(new_file(out / name, force=force, apart_from=(splits,))) for name in names]
        pairs = list(_pairs(corpus, splits, network, config))
        for done, (part, clip, source) in enumerate(pairs):
            drawn, scores = measure_head(network, clip, source, detector)
            shown = "" if isinstance(network, Audio2Head) else source.key
            report.clips.append(HeadClip(part=part, clip=clip.key, posed_by=shown, scores=scores))
            if done < SHEET_CLIPS:
                rows += _strips(clip, source, drawn, isinstance(network, PCAVS))
            if progress is not None:
                progress(done + 1, len(pairs))
        places[0].write_text(json.dumps(report.document(), indent=1) + "\n", encoding="utf-8")
        sheet = contact_sheet([picture for _, picture in rows], SHEET_FRAMES, [label for label, _ in rows])
        places[1].write_bytes(cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes())
    return report


def measure_head(
    model: PCAVS | Audio2Head, clip: LoadedClip, source: LoadedClip, detector: FaceDetector
) -> tuple[U8, dict[str, float]]:
    """Crops [t h w 3] of the clip's person saying its sound, and their scores."""
    landmarks = torch.from_numpy(clip.landmarks)
    frames = min(clip.frames, source.frames)
    quiet = int(np.argmin([mouth_opening(points) for points in clip.landmarks]))
    drawn = _draw(model, clip, source, quiet, frames)
    fits = [fit_mesh(detector, ArrayPicture(picture), region_of_landmarks(clip.landmarks[quiet])) for picture in drawn]
    read = np.stack([fit.landmarks for fit in fits])
    turns = _turns(torch.from_numpy(read), model.crop_px)
    scores: dict[str, float] = {}
    if isinstance(model, PCAVS):
        wanted = _turns(torch.from_numpy(source.landmarks[:frames]), model.crop_px)
        scores |= {name: correlation(turns[:, k], wanted[:, k]) for k, name in enumerate(("yaw", "pitch"))}
    else:
        real = _turns(landmarks[:frames], model.crop_px)
        scores |= {f"{name}_span": span(turns[:, k], real[:, k]) for k, name in enumerate(("yaw", "pitch"))}
        scores["jitter"] = jitter(turns[:, None], real[:, None])
    opened, opened_really = (openings(points[:frames, :, :2].astype(np.float64)) for points in (read, clip.landmarks))
    scores["identity"] = identity_similarity(drawn, clip.crops)
    scores["opening"], scores["span"] = correlation(opened, opened_really), span(opened, opened_really)
    scores["mesh"] = float(np.mean([fit.score for fit in fits]))
    return drawn, scores


@torch.inference_mode()
def _draw(model: PCAVS | Audio2Head, clip: LoadedClip, source: LoadedClip, quiet: int, frames: int) -> U8:
    device = next(model.parameters()).device
    units = model.units(clip.mel[None].to(device))[0, :frames]
    reference = torch.from_numpy(clip.landmarks[quiet : quiet + 1])
    known = Gallery(
        crops=_pictures(clip.crops[quiet : quiet + 1]),
        landmarks=reference,
        times_s=torch.zeros(1),
        seen=reference,
    ).to(device)
    posed = torch.from_numpy(source.landmarks[:frames])
    if isinstance(model, Audio2Head):
        poses = model.predict_heads(units[None], head_pose(reference, model.crop_px).to(device))[0][0].cpu()
        posed = place_head(head_shape(reference, model.crop_px).expand(frames, -1, -1), poses, model.crop_px)
    drawn = []
    for first in range(0, frames, BATCH):
        some = slice(first, first + BATCH)
        crops = _pictures(source.crops[:frames][some])
        faces = Faces(crops=crops, landmarks=posed[some], times_s=torch.full((len(crops),), torch.inf))
        drawn.append((model.render(units[some], faces.to(device), known).clamp(0, 1) * 255).round().byte().cpu())
    return np.ascontiguousarray(torch.cat(drawn).permute(0, 2, 3, 1).numpy())


def _pictures(crops: U8) -> Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255


def _turns(landmarks: Tensor, crop_px: int) -> NDArray[np.float64]:
    """Yaw and pitch in degrees, [t 2]."""
    return np.asarray(degrees(head_pose(landmarks, crop_px))[:, :2].numpy(), dtype=np.float64)


def _pairs(
    corpus: Path, splits: Path, model: LipModel, config: ClipsConfig
) -> Iterator[tuple[str, LoadedClip, LoadedClip]]:
    """Part, clip, and whose pose is taken: the next clip of the part, if it can be of another speaker."""
    for part in config.parts:
        store = ClipStore(corpus, model.mel, split_names(splits, part))
        if len(store) < 2:
            raise DataError(f"{corpus}: expected two clips of {part} or more, found {len(store)}; name other --parts")
        for index in evenly(range(len(store)), config.clips):
            others = [(index + 1 + more) % len(store) for more in range(len(store) - 1)]
            strangers = [other for other in others if store.speakers[other] != store.speakers[index]]
            yield part, store[index], store[(strangers or others)[0]]


def _strips(clip: LoadedClip, source: LoadedClip, drawn: U8, posed: bool) -> Iterator[tuple[str, U8]]:
    """Rows of the real clip, of the pose source where there is one, and of what was drawn, at the same moments."""
    moments = np.linspace(0, len(drawn) - 1, SHEET_FRAMES).round().astype(int)
    rows = {clip.key: clip.crops} | ({f"pose {source.key}": source.crops} if posed else {}) | {"drawn": drawn}
    for name, crops in rows.items():
        for column, moment in enumerate(moments):
            yield ("" if column else name), crops[moment]
