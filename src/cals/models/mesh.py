"""A mesh model of the lower face that separates the person's shape, the head pose and the motion of speech."""

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from cals.errors import DataError
from cals.face.landmarks import LEFT_BROW, LEFT_EYE, MOUTH_INNER, N_POINTS, OVAL, RIGHT_BROW, RIGHT_EYE
from cals.nn.warp import triangulate
from cals.types import F32

P = ParamSpec("P")
T = TypeVar("T")
REST_QUANTILE = 0.2
"""Share of a clip's frames, those with the smallest mouth opening, whose mean is the face at rest."""
MIN_REST_FRAMES = 25
"""Number of frames that are sure to include a mouth at rest: a second of speech does."""
_STILL_Y, _MOVING_Y = 56.0, 72.0
"""Rows in a crop of 128 px, between eyes and lips: points above the first stay, points below the second move fully."""
_RING_SCALE = 1.45
"""Scale of the face's outline that gives the fixed ring around it."""
_OPEN_STD = 2.0
"""Mouth opening, in standard deviations, at which the mesh is triangulated, so that no triangle bridges the lips."""


def disable_autocast(function: Callable[P, T]) -> Callable[P, T]:
    """Disable autocast for a geometric function: coordinates need full precision and are wrong in bfloat16."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        device = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return wrapper


class FaceMesh(nn.Module):
    """A linear model of lower-face motion, fitted to a corpus and stored in buffers.

    `template` [468 3] is the mean face at rest in crop pixels. `basis` [k 468 3] holds the motion components, scaled so
    that each coefficient has standard deviation 1 in speech. `identity` [k] is the standard deviation of the
    coefficients over the resting faces of different people. `triangles` [n 3] join the 468 points and the ring around
    them; the inner mouth is left open. `upper` [468] marks the points that stand still.
    """

    template: Tensor
    basis: Tensor
    identity: Tensor
    triangles: Tensor
    upper: Tensor

    def __init__(self, components: int, triangles: int) -> None:
        super().__init__()
        self.register_buffer("template", torch.zeros(N_POINTS, 3))
        self.register_buffer("basis", torch.zeros(components, N_POINTS, 3))
        self.register_buffer("identity", torch.zeros(components))
        self.register_buffer("triangles", torch.zeros(triangles, 3, dtype=torch.long))
        self.register_buffer("upper", torch.zeros(N_POINTS, dtype=torch.bool))

    @disable_autocast
    def estimate_rest(self, landmarks: Tensor) -> Tensor:
        """Estimate a person's face at rest [468 3], in the template's pose, from their frames [n 468 3].

        With many frames it is the mean of those with the smallest mouth opening. A few frames may show any expression.
        The fewer they are, the more of the difference from the template is removed that is likelier motion than shape
        (a Wiener estimate).
        """
        shapes = self.align_to_rest(landmarks, self.template)
        opening = measure_lip_gap(shapes)
        closed = shapes[opening <= opening.quantile(REST_QUANTILE)].mean(dim=0)
        uncertainty = 1 - (len(landmarks) - 1) / MIN_REST_FRAMES
        if uncertainty <= 0:
            return closed
        motion = self._coefficients(closed - self.template) / (1 + self.identity.square())
        # Lips at rest are closed: the remaining gap is removed by the smallest motion that closes it.
        gaps = measure_lip_gap(self.basis)
        remaining = measure_lip_gap(closed) - motion @ gaps - measure_lip_gap(self.template)
        motion = motion + gaps * remaining.clamp_min(0) / gaps.square().sum()
        return closed - uncertainty * torch.einsum("k,kpc->pc", motion, self.basis)

    @disable_autocast
    def compute_motion(self, landmarks: Tensor, rest: Tensor) -> Tensor:
        """Compute coefficients [b k] of faces [b 468 3] relative to rest [b 468 3] or [468 3]; the pose is removed."""
        return self._coefficients(self.align_to_rest(landmarks, rest) - rest)

    @disable_autocast
    def add_motion(self, landmarks: Tensor, rest: Tensor, change: Tensor) -> Tensor:
        """Return faces [b 468 3], in their own pose, with `change` [b k] added to their motion."""
        scale, rotation, _, _ = estimate_similarity(rest.expand_as(landmarks), landmarks, self.upper)
        motion = torch.einsum("bk,kpc->bpc", change.float(), self.basis)
        return landmarks + scale[:, None, None] * (motion @ rotation)

    def build_vertices(self, landmarks: Tensor, still: Tensor) -> Tensor:
        """Build warp vertices [b 504 2] of faces [b 468 3]: their points and a ring around `still` [b 468 3]."""
        oval = still[:, list(OVAL), :2]
        centre = oval.mean(dim=1, keepdim=True)
        return torch.cat([landmarks[..., :2], centre + _RING_SCALE * (oval - centre)], dim=1)

    @property
    def lower_triangles(self) -> Tensor:
        """Triangles [n 3] that reach into the lower face, the part that speech moves."""
        ring = torch.ones(len(OVAL), dtype=torch.bool, device=self.upper.device)
        below = torch.cat([self.template[:, 1] > _STILL_Y, ring])
        corners = below[self.triangles]
        return self.triangles[corners.any(dim=1) & (self.triangles < N_POINTS).any(dim=1)]

    def align_to_rest(self, landmarks: Tensor, rest: Tensor) -> Tensor:
        """Align faces [b 468 3] to the pose and size of `rest` [468 3]."""
        scale, rotation, centroid, rest_centroid = estimate_similarity(rest.expand_as(landmarks), landmarks, self.upper)
        return (landmarks - centroid) @ rotation.transpose(-1, -2) / scale[:, None, None] + rest_centroid

    def _coefficients(self, displacement: Tensor) -> Tensor:
        flat = self.basis.flatten(1)
        norms = flat.square().sum(dim=1)  # the components are orthogonal
        return displacement.flatten(-2) @ flat.T / norms


def measure_lip_gap(landmarks: Tensor) -> Tensor:
    """Compute the mean vertical gap between the inner lips, [... 468 2+] -> [...] in pixels."""
    return (landmarks[..., [178, 14, 402], 1] - landmarks[..., [81, 13, 311], 1]).mean(dim=-1)


def estimate_similarity(source: Tensor, target: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fit a similarity by least squares: scale [b], rotation [b 3 3], centroids [b 1 3] of target and source.

    Rotations apply to rows: source @ rotation ~ target.
    """
    a, b = source[:, points], target[:, points]
    a_centroid, b_centroid = a.mean(dim=1, keepdim=True), b.mean(dim=1, keepdim=True)
    a, b = a - a_centroid, b - b_centroid
    u, singular, vh = torch.linalg.svd(a.transpose(1, 2) @ b)
    sign = torch.ones_like(singular)
    sign[:, -1] = torch.linalg.det(u @ vh)  # a rotation, never a reflection
    rotation = (u * sign[:, None]) @ vh
    scale = (singular * sign).sum(dim=1) / a.square().sum(dim=(1, 2))
    return scale, rotation, b_centroid, a_centroid


def measure_mesh(clips: Sequence[F32], speakers: Sequence[str], components: int) -> FaceMesh:
    """Fit the mesh of a corpus to each clip's landmarks [t 468 3] in crop pixels; every speaker has the same weight.

    Raises DataError when there are too few frames for that many components.
    """
    frames = sum(len(clip) for clip in clips)
    if frames < 4 * components:
        raise DataError(f"mesh: expected at least {4 * components} frames for {components} motions, found {frames}")
    shapes = [torch.from_numpy(np.asarray(clip, dtype=np.float32)) for clip in clips]
    names = sorted(set(speakers))
    mean = torch.stack([shape.mean(dim=0) for shape in shapes]).mean(dim=0)
    initial = FaceMesh(components, 0)
    initial.template.copy_(mean)
    still = mean[:, 1] < _STILL_Y
    still[[*LEFT_EYE, *RIGHT_EYE, *LEFT_BROW, *RIGHT_BROW]] = False  # lids and brows move independently of speech
    initial.upper.copy_(still)
    rests = {
        name: [initial.estimate_rest(s) for s, of in zip(shapes, speakers, strict=True) if of == name] for name in names
    }
    person_rests = torch.stack([torch.stack(rests[name]).mean(dim=0) for name in names])
    initial.template.copy_(person_rests.mean(dim=0))
    fade = ((initial.template[:, 1] - _STILL_Y) / (_MOVING_Y - _STILL_Y)).clamp(0, 1)[:, None]
    motions = {name: [] for name in names}  # type: dict[str, list[Tensor]]
    for shape, name in zip(shapes, speakers, strict=True):
        rest = initial.estimate_rest(shape)
        motions[name].append((initial.align_to_rest(shape, rest) - rest) * fade)
    # Most of its eigenvalues are zero: in single precision the solver may not converge.
    scatter = torch.zeros(3 * N_POINTS, 3 * N_POINTS, dtype=torch.float64)
    for name in names:
        flat = torch.cat(motions[name]).flatten(1).double()
        scatter += flat.T @ flat / len(flat) / len(names)
    energy, directions = torch.linalg.eigh(scatter)
    spread = energy[-components:].flip(0).clamp_min(1e-8).sqrt()
    flat = (directions[:, -components:].flip(1) * spread).T
    # The sign of an eigenvector is arbitrary and differs between machines, so it is fixed here.
    flat = flat * flat.gather(1, flat.abs().argmax(dim=1, keepdim=True)).sign()
    initial.basis.copy_(flat.unflatten(1, (N_POINTS, 3)))
    triangles = _triangulate(initial)
    mesh = FaceMesh(components, len(triangles))
    mesh.load_state_dict(initial.state_dict() | {"triangles": triangles})
    if len(names) > 1:
        mesh.identity.copy_(mesh._coefficients(person_rests - mesh.template).std(dim=0))
    return mesh


def _triangulate(mesh: FaceMesh) -> Tensor:
    """Triangulate the template with its mouth open; returns triangles [n 3] without those of the inner mouth."""
    opening = torch.zeros(len(mesh.basis))
    opening[0] = (
        _OPEN_STD if measure_lip_gap(mesh.template + mesh.basis[0]) > measure_lip_gap(mesh.template) else -_OPEN_STD
    )
    opened = mesh.template + torch.einsum("k,kpc->pc", opening, mesh.basis)
    points = mesh.build_vertices(opened[None], mesh.template[None])[0].numpy()
    triangles = torch.from_numpy(triangulate(points))
    inner = torch.zeros(len(points), dtype=torch.bool)
    inner[list(MOUTH_INNER)] = True
    return triangles[~inner[triangles].all(dim=1)]
