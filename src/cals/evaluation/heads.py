"""`cals evaluate heads`: pose, identity and lip motion of models that generate whole heads.

On prepared clips: one frame of a clip is the reference, its sound drives. PC-AVS follows the pose of another clip.
Audio2Head predicts the head motion, which is compared with that of the real clip.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.data.store import ClipStore, LoadedClip, load_split_names
from cals.errors import ConfigError, DataError
from cals.evaluation.clips import ClipsConfig, sample_evenly
from cals.evaluation.results import open_results, write_json
from cals.evaluation.scores import compute_openings
from cals.evaluation.studies.common import warn_of_missing_clips
from cals.face.detector import FaceDetector
from cals.face.draw import encode_png, render_contact_sheet
from cals.face.landmarks import measure_mouth_opening
from cals.face.mesh_fit import fit_mesh, region_of_landmarks
from cals.face.picture import ArrayPicture
from cals.inference.load import LoadedModel
from cals.metrics.identity import identity_similarity
from cals.metrics.motion import correlation, jitter, span_ratio
from cals.models.audio2head import Audio2Head
from cals.models.head import apply_head_pose, estimate_head_pose, remove_head_pose, to_degrees
from cals.models.lips import Faces, Gallery, LipModel
from cals.models.pcavs import PCAVS
from cals.report.rounding import round_for_json
from cals.report.tables import format_table
from cals.types import U8, ProgressCallback

FILES = ("heads.json", "heads.png")
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
    """Scores of one clip."""

    part: str
    clip: str
    posed_by: str
    """Clip that gave the pose; empty where the model predicts it."""
    scores: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class HeadReport:
    """Scores of all clips."""

    model: str
    clips: list[HeadClip] = field(default_factory=list)

    def average_scores(self) -> dict[str, dict[str, float]]:
        """Average the scores of each part: part -> measure -> mean over its clips."""
        means: dict[str, dict[str, float]] = {}
        for part in dict.fromkeys(clip.part for clip in self.clips):
            of_part = [clip.scores for clip in self.clips if clip.part == part]
            means[part] = {name: float(np.nanmean([scores[name] for scores in of_part])) for name in of_part[0]}
        return means

    def format_text(self) -> str:
        """Format the means as Markdown."""
        means = self.average_scores()
        names = list(next(iter(means.values())))
        rows = [[name, *(f"{scores[name]:.3f}" for scores in means.values()), MEANINGS[name]] for name in names]
        return format_table(["measure", *means, "is"], rows, aligned=False)

    def document(self) -> dict[str, object]:
        """Return the report as JSON has it."""
        clips = [vars(clip) | {"scores": round_for_json(clip.scores)} for clip in self.clips]
        return {"format": 1, "model": self.model, "means": round_for_json(self.average_scores()), "clips": clips}


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
    with open_results(out, FILES, force=force, reserved=(splits,)) as (document, picture):
        pairs = list(_iterate_pairs(corpus, splits, network, config))
        for index, (part, clip, source) in enumerate(pairs):
            generated, scores = measure_head(network, clip, source, detector)
            pose_source = "" if isinstance(network, Audio2Head) else source.key
            report.clips.append(HeadClip(part=part, clip=clip.key, posed_by=pose_source, scores=scores))
            if index < SHEET_CLIPS:
                rows += _iterate_strips(clip, source, generated, isinstance(network, PCAVS))
            if progress is not None:
                progress(index + 1, len(pairs))
        write_json(document, report.document())
        sheet = render_contact_sheet([crop for _, crop in rows], SHEET_FRAMES, [label for label, _ in rows])
        picture.write_bytes(encode_png(sheet))
    return report


def measure_head(
    model: PCAVS | Audio2Head, clip: LoadedClip, source: LoadedClip, detector: FaceDetector
) -> tuple[U8, dict[str, float]]:
    """Generate crops [t h w 3] of the clip's person saying its sound, and score them."""
    real_landmarks = torch.from_numpy(clip.landmarks)
    frames = min(clip.frames, source.frames)
    reference = int(np.argmin([measure_mouth_opening(points) for points in clip.landmarks]))
    generated = _generate(model, clip, source, reference, frames)
    fits = [
        fit_mesh(detector, ArrayPicture(picture), region_of_landmarks(clip.landmarks[reference]))
        for picture in generated
    ]
    landmarks = np.stack([fit.landmarks for fit in fits])
    angles = _compute_angles(torch.from_numpy(landmarks), model.crop_px)
    scores: dict[str, float] = {}
    if isinstance(model, PCAVS):
        target = _compute_angles(torch.from_numpy(source.landmarks[:frames]), model.crop_px)
        scores |= {name: correlation(angles[:, k], target[:, k]) for k, name in enumerate(("yaw", "pitch"))}
    else:
        real_angles = _compute_angles(real_landmarks[:frames], model.crop_px)
        scores |= {
            f"{name}_span": span_ratio(angles[:, k], real_angles[:, k]) for k, name in enumerate(("yaw", "pitch"))
        }
        scores["jitter"] = jitter(angles[:, None], real_angles[:, None])
    opening, real_opening = (
        compute_openings(points[:frames, :, :2].astype(np.float64)) for points in (landmarks, clip.landmarks)
    )
    scores["identity"] = identity_similarity(generated, clip.crops)
    scores["opening"], scores["span"] = correlation(opening, real_opening), span_ratio(opening, real_opening)
    scores["mesh"] = float(np.mean([fit.score for fit in fits]))
    return generated, scores


@torch.inference_mode()
def _generate(model: PCAVS | Audio2Head, clip: LoadedClip, source: LoadedClip, reference: int, frames: int) -> U8:
    device = next(model.parameters()).device
    units = model.predict_units(clip.mel[None].to(device))[0, :frames]
    reference_landmarks = torch.from_numpy(clip.landmarks[reference : reference + 1])
    gallery = Gallery(
        crops=_to_images(clip.crops[reference : reference + 1]),
        landmarks=reference_landmarks,
        times_s=torch.zeros(1),
        observed_landmarks=reference_landmarks,
    ).to(device)
    pose_landmarks = torch.from_numpy(source.landmarks[:frames])
    if isinstance(model, Audio2Head):
        poses = model.predict_poses(units[None], estimate_head_pose(reference_landmarks, model.crop_px).to(device))[0][
            0
        ].cpu()
        pose_landmarks = apply_head_pose(
            remove_head_pose(reference_landmarks, model.crop_px).expand(frames, -1, -1), poses, model.crop_px
        )
    generated = []
    for first in range(0, frames, BATCH):
        batch = slice(first, first + BATCH)
        crops = _to_images(source.crops[:frames][batch])
        faces = Faces(crops=crops, landmarks=pose_landmarks[batch], times_s=torch.full((len(crops),), torch.inf))
        generated.append((model.render(units[batch], faces.to(device), gallery).clamp(0, 1) * 255).round().byte().cpu())
    return np.ascontiguousarray(torch.cat(generated).permute(0, 2, 3, 1).numpy())


def _to_images(crops: U8) -> Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255


def _compute_angles(landmarks: Tensor, crop_px: int) -> NDArray[np.float64]:
    """Compute yaw and pitch in degrees, [t 2]."""
    return np.asarray(to_degrees(estimate_head_pose(landmarks, crop_px))[:, :2].numpy(), dtype=np.float64)


def _iterate_pairs(
    corpus: Path, splits: Path, model: LipModel, config: ClipsConfig
) -> Iterator[tuple[str, LoadedClip, LoadedClip]]:
    """Iterate over part, clip and pose source: the next clip of the part, of another speaker if there is one."""
    for part in config.parts:
        names = load_split_names(splits, part)
        store = ClipStore(corpus, model.mel, names)
        warn_of_missing_clips(corpus, part, names, store.clip_names)
        if len(store) < 2:
            raise DataError(f"{corpus}: expected two clips of {part} or more, found {len(store)}; name other --parts")
        for index in sample_evenly(range(len(store)), config.clips):
            others = [(index + 1 + more) % len(store) for more in range(len(store) - 1)]
            strangers = [other for other in others if store.speakers[other] != store.speakers[index]]
            yield part, store[index], store[(strangers or others)[0]]


def _iterate_strips(clip: LoadedClip, source: LoadedClip, generated: U8, with_pose: bool) -> Iterator[tuple[str, U8]]:
    """Iterate over labelled rows of the real clip, the pose source if any, and the generated one, at the same times."""
    moments = np.linspace(0, len(generated) - 1, SHEET_FRAMES).round().astype(int)
    rows = {clip.key: clip.crops} | ({f"pose {source.key}": source.crops} if with_pose else {}) | {"drawn": generated}
    for name, crops in rows.items():
        for column, moment in enumerate(moments):
            yield ("" if column else name), crops[moment]
