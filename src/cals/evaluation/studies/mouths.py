"""A prepared clip's frames drawn with any units, and where their mouths then are: what the two studies look at."""

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
from cals.face.mask import lower_face_mask
from cals.face.mesh_fit import fit_mesh, region_of_landmarks
from cals.face.paste import paste
from cals.face.picture import ArrayPicture
from cals.inference.gallery import LOOK_S, gallery, pictures
from cals.inference.tracked import View
from cals.models.lips import Faces, Gallery, LipModel
from cals.models.mesh import similarity
from cals.models.speaking import MeshLips
from cals.types import F32, U8, CropTransform

Measure = Literal["picture", "mesh"]
FPS = 25
"""Of prepared clips."""
_AS_IT_IS = CropTransform(matrix=np.eye(2, 3), size_px=CROP_SIZE_PX)


class Subject:
    """A prepared clip as a model meets it: its faces, and what a look ahead tells of the person."""

    def __init__(self, clip: LoadedClip) -> None:
        self.clip = clip
        self.times_s = np.arange(clip.frames) / FPS
        self.region = region_of_landmarks(clip.landmarks.mean(axis=0))
        """Where a mesh is fitted in any of its crops: the same for all, so that it says nothing of their mouths."""
        ahead = self.times_s <= LOOK_S
        views = [
            View(_AS_IT_IS, crop, points, (CROP_SIZE_PX, CROP_SIZE_PX))
            for crop, points in zip(clip.crops[ahead], clip.landmarks[ahead], strict=True)
        ]
        self.gallery: Gallery = gallery(views, self.times_s[ahead].tolist())
        self._masks: dict[int, F32] = {}

    def faces(self, frames: Sequence[int]) -> Faces:
        """The real faces of these frames."""
        chosen = list(frames)
        return Faces(
            crops=pictures(self.clip.crops[chosen]),
            landmarks=torch.from_numpy(self.clip.landmarks[chosen]),
            times_s=torch.from_numpy(self.times_s[chosen]).float(),
        )

    def pasted(self, frame: int, made: U8) -> U8:
        """The crop as `made` changes it: blended into the real one as into a video's frame."""
        if frame not in self._masks:
            points = self.clip.landmarks[frame]
            self._masks[frame] = lower_face_mask(points, _AS_IT_IS, CROP_SIZE_PX, CROP_SIZE_PX)
        real = self.clip.crops[frame]
        picture = ArrayPicture(real)
        return picture.patched(paste(picture, _AS_IT_IS, real, made, self._masks[frame]))


class MouthReader(Protocol):
    """Landmarks [n 468 2] in crop pixels, NaN where no face was found."""

    def real(self, subject: Subject, frames: Sequence[int]) -> F64:
        """Of the real frames."""
        ...

    def made(self, network: LipModel, subject: Subject, units: Tensor, frames: Sequence[int]) -> F64:
        """Of these frames drawn anew, the i-th with units[i] of [n d]."""
        ...


class PictureReader:
    """Draws the frames, pastes them and fits the mesh anew: the same way for real pictures and for generated ones."""

    def __init__(self, detector: FaceDetector, batch: int) -> None:
        self._detector, self._batch = detector, batch

    def real(self, subject: Subject, frames: Sequence[int]) -> F64:
        return self._fitted(subject, (subject.clip.crops[frame] for frame in frames))

    def made(self, network: LipModel, subject: Subject, units: Tensor, frames: Sequence[int]) -> F64:
        return self._fitted(subject, self.drawn(network, subject, units, frames))

    def drawn(self, network: LipModel, subject: Subject, units: Tensor, frames: Sequence[int]) -> Iterator[U8]:
        """The crops themselves."""
        device = next(network.parameters()).device
        known = subject.gallery.to(device)
        for first in range(0, len(frames), self._batch):
            part = frames[first : first + self._batch]
            with torch.inference_mode():
                crops = network.render(
                    units[first : first + self._batch].to(device), subject.faces(part).to(device), known
                )
            pixels = (crops.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            for frame, made in zip(part, pixels, strict=True):
                yield subject.pasted(frame, made)

    def _fitted(self, subject: Subject, crops: Iterator[U8]) -> F64:
        found = []
        for crop in crops:
            picture = ArrayPicture(crop)
            fit = fit_mesh(self._detector, picture, subject.region)
            fit = fit_mesh(self._detector, picture, region_of_landmarks(fit.landmarks))  # as a tracker follows a face
            there = fit.score >= MIN_MESH_SCORE
            found.append(fit.landmarks[:, :2].astype(np.float64) if there else np.full((N_POINTS, 2), np.nan))
        return np.stack(found)


class MeshReader:
    """Takes the mesh that the model says, in the real head's pose, and the prepared landmarks: no picture at all.

    Cheap, and good for faces that no face mesh was made for; but it says nothing of what the drawing loses.
    """

    def real(self, subject: Subject, frames: Sequence[int]) -> F64:
        return subject.clip.landmarks[list(frames), :, :2].astype(np.float64)

    def made(self, network: LipModel, subject: Subject, units: Tensor, frames: Sequence[int]) -> F64:
        """The person's face at rest moved by what is said: nothing of the frame's own mouth is in it."""
        if not isinstance(network, MeshLips):
            raise ConfigError(
                f"measure: expected a model that moves a mesh for 'mesh', found {type(network).__name__}; use 'picture'"
            )
        mesh, device = network.decoder.mesh, next(network.parameters()).device
        landmarks = subject.faces(frames).landmarks.to(device)
        with torch.inference_mode():
            rest = mesh.resting(subject.gallery.seen.to(device))
            motion = torch.einsum("bk,kpc->bpc", network.decoder.motion(units.to(device)).float(), mesh.basis)
            scale, turn, middle, of_rest = similarity(rest.expand_as(landmarks), landmarks, mesh.upper)
            points = scale[:, None, None] * ((rest + motion - of_rest) @ turn) + middle
        return points[..., :2].double().cpu().numpy()


def check_crops(network: LipModel, like: LipModel | None = None) -> None:
    """ConfigError unless the network draws crops and hears features that prepared clips have, the same as `like`'s."""
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


def silent(mel: Tensor, network: LipModel) -> Tensor:
    """As much digital silence."""
    return torch.full_like(mel, network.mel.floor_db)
