"""Rendering of a prepared clip's frames from any units, and the landmarks of their mouths."""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from cals.data.store import LoadedClip
from cals.errors import ConfigError
from cals.evaluation.drives import F64
from cals.face.align import CROP_SIZE_PX
from cals.face.detector import MIN_MESH_SCORE, FaceDetector
from cals.face.landmarks import N_POINTS
from cals.face.mask import build_lower_face_mask
from cals.face.mesh_fit import fit_mesh, region_of_landmarks
from cals.face.paste import paste
from cals.face.picture import ArrayPicture
from cals.inference.frame_tracker import View
from cals.inference.gallery import MAX_GALLERY_S, build_gallery, stack_crops
from cals.models.cals import MeshLips
from cals.models.geometry import estimate_similarity
from cals.models.lips import Faces, Gallery, LipModel
from cals.types import F32, U8, CropTransform

Measure = Literal["picture", "mesh"]
FPS = 25
"""Frame rate of prepared clips."""
_IDENTITY = CropTransform(matrix=np.eye(2, 3), size_px=CROP_SIZE_PX)


class StudyClip:
    """A prepared clip as a model's input: its faces, and the gallery of the person from a look ahead."""

    def __init__(self, clip: LoadedClip) -> None:
        self.clip = clip
        self.times_s = np.arange(clip.frames) / FPS
        self.region = region_of_landmarks(clip.landmarks.mean(axis=0))
        """Region in which a mesh is fitted, the same for all crops, so that it is independent of their mouths."""
        is_ahead = self.times_s <= MAX_GALLERY_S
        views = [
            View(_IDENTITY, crop, points, (CROP_SIZE_PX, CROP_SIZE_PX))
            for crop, points in zip(clip.crops[is_ahead], clip.landmarks[is_ahead], strict=True)
        ]
        self.gallery: Gallery = build_gallery(views, self.times_s[is_ahead].tolist())
        self._masks: dict[int, F32] = {}

    def select_faces(self, frames: Sequence[int]) -> Faces:
        """Return the real faces of these frames."""
        index = list(frames)
        return Faces(
            crops=stack_crops(self.clip.crops[index]),
            landmarks=torch.from_numpy(self.clip.landmarks[index]),
            times_s=torch.from_numpy(self.times_s[index]).float(),
        )

    def paste_crop(self, frame: int, made: U8) -> U8:
        """Paste the crop `made` into the real one, as into a video's frame."""
        if frame not in self._masks:
            points = self.clip.landmarks[frame]
            self._masks[frame] = build_lower_face_mask(points, _IDENTITY, CROP_SIZE_PX, CROP_SIZE_PX)
        real = self.clip.crops[frame]
        picture = ArrayPicture(real)
        return picture.apply_patch(paste(picture, _IDENTITY, real, made, self._masks[frame]))


class MouthReader(Protocol):
    """Reader of landmarks [n 468 2] in crop pixels, NaN where no face was found."""

    def read_real(self, subject: StudyClip, frames: Sequence[int]) -> F64:
        """Return the landmarks of the real frames."""
        ...

    def read_output(self, network: LipModel, subject: StudyClip, units: Tensor, frames: Sequence[int]) -> F64:
        """Return the landmarks of the frames as generated, the i-th from units[i] of [n d]."""
        ...


class PictureReader:
    """Reader that renders and pastes the frames and fits the mesh again, alike for real and generated pictures."""

    def __init__(self, detector: FaceDetector, batch: int) -> None:
        self._detector, self._batch = detector, batch

    def read_real(self, subject: StudyClip, frames: Sequence[int]) -> F64:
        return self._fit_landmarks(subject, (subject.clip.crops[frame] for frame in frames))

    def read_output(self, network: LipModel, subject: StudyClip, units: Tensor, frames: Sequence[int]) -> F64:
        return self._fit_landmarks(subject, self.render_crops(network, subject, units, frames))

    def render_crops(self, network: LipModel, subject: StudyClip, units: Tensor, frames: Sequence[int]) -> Iterator[U8]:
        """Render the frames and yield the pasted crops."""
        device = next(network.parameters()).device
        gallery = subject.gallery.to(device)
        for first in range(0, len(frames), self._batch):
            batch = frames[first : first + self._batch]
            with torch.inference_mode():
                crops = network.render(
                    units[first : first + self._batch].to(device), subject.select_faces(batch).to(device), gallery
                )
            pixels = (crops.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            for frame, generated in zip(batch, pixels, strict=True):
                yield subject.paste_crop(frame, generated)

    def _fit_landmarks(self, subject: StudyClip, crops: Iterator[U8]) -> F64:
        landmarks = []
        for crop in crops:
            picture = ArrayPicture(crop)
            fit = fit_mesh(self._detector, picture, subject.region)
            # refine the region, as a tracker does
            fit = fit_mesh(self._detector, picture, region_of_landmarks(fit.landmarks))
            is_valid = fit.score >= MIN_MESH_SCORE
            landmarks.append(fit.landmarks[:, :2].astype(np.float64) if is_valid else np.full((N_POINTS, 2), np.nan))
        return np.stack(landmarks)


class MeshReader:
    """Reader of the mesh that the model predicts, in the real head's pose, and of the prepared landmarks.

    No picture is rendered: cheap, and good for faces that the face mesh does not fit; but rendering errors are ignored.
    """

    def read_real(self, subject: StudyClip, frames: Sequence[int]) -> F64:
        return subject.clip.landmarks[list(frames), :, :2].astype(np.float64)

    def read_output(self, network: LipModel, subject: StudyClip, units: Tensor, frames: Sequence[int]) -> F64:
        """Return the person's resting face plus the predicted motion; the frame's own mouth is not used."""
        if not isinstance(network, MeshLips):
            raise ConfigError(
                f"measure: expected a model that moves a mesh for 'mesh', found {type(network).__name__}; use 'picture'"
            )
        mesh, device = network.decoder.mesh, next(network.parameters()).device
        landmarks = subject.select_faces(frames).landmarks.to(device)
        with torch.inference_mode():
            rest = mesh.estimate_rest(subject.gallery.observed_landmarks.to(device))
            motion = torch.einsum("bk,kpc->bpc", network.decoder.predict_motion(units.to(device)).float(), mesh.basis)
            scale, rotation, centre, rest_centre = estimate_similarity(rest.expand_as(landmarks), landmarks, mesh.upper)
            points = scale[:, None, None] * ((rest + motion - rest_centre) @ rotation) + centre
        return np.asarray(points[..., :2].cpu().double())


def check_crops(network: LipModel, like: LipModel | None = None) -> None:
    """Raise ConfigError unless crop size and frame rate are those of prepared clips, and the mel is that of `like`."""
    found = network.crop_px, network.mel.timing.fps
    if found != (CROP_SIZE_PX, FPS):
        raise ConfigError(
            f"model: expected crops of {CROP_SIZE_PX} px at {FPS} fps, as prepared clips are, found {found[0]} px at "
            f"{found[1]} fps; name another model"
        )
    if like is not None and network.mel != like.mel:
        raise ConfigError(
            f"baseline: expected one that hears the model's features {like.mel}, found {network.mel}; name another"
        )


def build_silence(mel: Tensor, network: LipModel) -> Tensor:
    """Return digital silence of the same length."""
    return torch.full_like(mel, network.mel.floor_db)
