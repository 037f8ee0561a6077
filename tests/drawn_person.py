"""A synthetic speaking person: shapes, poses, a measured mesh, and a mesh model with random weights."""

import numpy as np
import torch
from torch import Tensor

import drawn_face
from cals.inference.gallery import stack_crops
from cals.models.a2l import A2LConfig
from cals.models.cals import MeshLips, MeshLipsConfig
from cals.models.lips import Faces, Gallery
from cals.models.mesh import FaceMesh, measure_lip_gap, measure_mesh
from cals.models.motion import MeshConfig
from cals.types import F32

A2L = A2LConfig(unit=16, channels=(4, 8), width=16, layers=1, heads=2, hidden=32)
SHAPES = {"anna": (1.0, 1.0, 1.0), "bert": (1.03, 0.985, 1.05), "cleo": (0.97, 1.01, 0.95)}
"""Each person's proportions."""


def openings(frames: int, seed: int) -> np.ndarray:
    """Sample the opening of the mouth in each frame, in pixels; it is closed in many of them."""
    return np.clip(3 + 4 * np.random.default_rng(seed).normal(size=frames), 0, 12)


def clip(person: str, frames: int, seed: int) -> F32:
    """Build landmarks [t 468 3] of speech without head motion: two motions, opening and width."""
    wide = np.random.default_rng(seed + 1000).normal(size=frames)
    faces = [drawn_face.points(o, w) for o, w in zip(openings(frames, seed), wide, strict=True)]
    middle = np.append(drawn_face.MIDDLE, 0)
    return ((np.stack(faces) - middle) * SHAPES[person] + middle).astype(np.float32)


def apply_poses(landmarks: F32, seed: int) -> F32:
    """Give every frame another head rotation (some degrees each way), size and position."""
    rng = np.random.default_rng(seed)
    result = []
    for face in landmarks:
        turn = np.eye(3)
        for axis, angle in enumerate(rng.uniform(-0.12, 0.12, 3)):
            i, j = (k for k in range(3) if k != axis)
            one = np.eye(3)
            one[[i, j], [i, j]] = np.cos(angle)
            one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
            turn = turn @ one
        centred = (face - face.mean(axis=0)) @ turn * rng.uniform(0.95, 1.05)
        result.append(centred + face.mean(axis=0) + rng.uniform(-2, 2, 3))
    return np.stack(result).astype(np.float32)


def build_mesh(components: int = 2, *, moving_heads: bool = False) -> FaceMesh:
    """Measure the mesh of all persons."""
    clips = [clip(person, 80, seed) for seed, person in enumerate(SHAPES)]
    if moving_heads:
        clips = [apply_poses(landmarks, seed) for seed, landmarks in enumerate(clips)]
    return measure_mesh(clips, list(SHAPES), components)


def mesh_lips(mesh: FaceMesh, appearance: int = 0) -> MeshLips:
    """Build a model with random weights, whose mean speaker opens the mouth as the synthetic persons do."""
    torch.manual_seed(0)
    decoder = MeshConfig(
        unit=16, components=len(mesh.basis), appearance=appearance, hidden=16, triangles=len(mesh.triangles)
    )
    model = MeshLips(MeshLipsConfig(a2l=A2L, decoder=decoder)).eval()
    model.decoder.mesh.load_state_dict(mesh.state_dict())
    model.decoder.opening_px.fill_(float(np.std(openings(400, 0))))
    model.decoder.appearance_basis.normal_(std=0.1)
    return model


def opening_by(mesh: FaceMesh, pixels: float) -> Tensor:
    """Compute the least motion [k] that opens the mouth by `pixels`."""
    gaps = measure_lip_gap(mesh.basis)
    return pixels * gaps / gaps.square().sum()


def bias_model(model: MeshLips, motion: Tensor) -> Tensor:
    """Make the model return this motion [k] for every unit; returns a unit to pass, [1 16]."""
    with torch.no_grad():
        last = model.decoder.head[-1]
        last.weight.zero_()
        last.bias.zero_()
        last.bias[: len(motion)] = motion
    return torch.zeros(1, 16)


def build_faces(crops: list[np.ndarray], landmarks: list[F32], time_s: float = 1.0) -> Faces:
    """Build faces at one time."""
    points = torch.from_numpy(np.stack(landmarks))
    return Faces(crops=stack_crops(crops), landmarks=points, times_s=torch.full((len(crops),), time_s))


def build_gallery(landmarks: F32, frames: list[int], seed: int = 0) -> Gallery:
    """Build a gallery of the named frames of a clip, a second apart from 10 s on."""
    return Gallery(
        crops=stack_crops([drawn_face.picture(landmarks[i], seed) for i in frames]),
        landmarks=torch.from_numpy(landmarks[frames]),
        times_s=10.0 + torch.arange(float(len(frames))),
        observed_landmarks=torch.from_numpy(landmarks),
    )
