"""The lower face as a mesh in motion: what is the person's shape, what is their head's pose, what is speech."""

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
QUIET = 0.2
"""Share of a clip's frames, those with the least opening, whose mean is taken for the mouth at rest."""
ENOUGH = 25
"""Frames among which there is a mouth at rest: a second of speech has one."""
_STILL_Y, _MOVING_Y = 56.0, 72.0
"""In a crop of 128: points above the first stay, points below the second move fully; between eyes and lips."""
_RING = 1.45
"""How far outside the face, as a factor of its outline, everything stands still."""
_OPEN = 2.0
"""Standard deviations of opening at which the mesh is cut into triangles, so that none bridges the lips."""


def exact(geometry: Callable[P, T]) -> Callable[P, T]:
    """Geometry in full precision, whatever the networks around it are run in: places are wrong in bfloat16."""

    @functools.wraps(geometry)
    def exactly(*args: P.args, **kwargs: P.kwargs) -> T:
        device = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
        with torch.autocast(device, enabled=False):
            return geometry(*args, **kwargs)

    return exactly


class FaceMesh(nn.Module):
    """A low-rank model of lower-face motion, measured on a corpus and kept in buffers.

    `template` [468 3] is the mean face at rest in crop pixels, `basis` [k 468 3] the motions, scaled so that each
    coefficient has standard deviation 1 in speech, `identity` [k] how far resting faces of different people differ
    along them. `triangles` [n 3] join the 468 points and the ring around them; the inner mouth is left open.
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

    @exact
    def resting(self, landmarks: Tensor) -> Tensor:
        """A person's face at rest [468 3] in the template's pose, from frames [n 468 3] of theirs.

        With many frames it is the mean of the quietest. A few may show any expression: the fewer they are, the more of
        their difference from the template is taken out that is likelier motion than shape (a Wiener estimate).
        """
        shapes = self.upright(landmarks, self.template)
        opening = lip_gap(shapes)
        quiet = shapes[opening <= opening.quantile(QUIET)].mean(dim=0)
        doubt = 1 - (len(landmarks) - 1) / ENOUGH
        if doubt <= 0:
            return quiet
        likely = self._coefficients(quiet - self.template) / (1 + self.identity.square())
        # Whoever it is, at rest their lips are closed: the rest of the gap goes by the least motion that closes it.
        gaps = lip_gap(self.basis)
        open_still = lip_gap(quiet) - likely @ gaps - lip_gap(self.template)
        likely = likely + gaps * open_still.clamp_min(0) / gaps.square().sum()
        return quiet - doubt * torch.einsum("k,kpc->pc", likely, self.basis)

    @exact
    def motion(self, landmarks: Tensor, rest: Tensor) -> Tensor:
        """Coefficients [b k] of faces [b 468 3] against each one's rest [b 468 3] or [468 3]; the pose is taken out."""
        return self._coefficients(self.upright(landmarks, rest) - rest)

    @exact
    def moved(self, landmarks: Tensor, rest: Tensor, change: Tensor) -> Tensor:
        """Faces [b 468 3] with their motion changed by `change` [b k], in the pose they have."""
        scale, turn, _, _ = similarity(rest.expand_as(landmarks), landmarks, self.upper)
        motion = torch.einsum("bk,kpc->bpc", change.float(), self.basis)
        return landmarks + scale[:, None, None] * (motion @ turn)

    def vertices(self, landmarks: Tensor, still: Tensor) -> Tensor:
        """Warp vertices [b 504 2] of faces [b 468 3]: their points, and a ring around the face `still` [b 468 3]."""
        oval = still[:, list(OVAL), :2]
        centre = oval.mean(dim=1, keepdim=True)
        return torch.cat([landmarks[..., :2], centre + _RING * (oval - centre)], dim=1)

    @property
    def lower(self) -> Tensor:
        """The triangles that reach into the lower face, where speech moves anything, [n 3]."""
        ring = torch.ones(len(OVAL), dtype=torch.bool, device=self.upper.device)
        below = torch.cat([self.template[:, 1] > _STILL_Y, ring])
        corners = below[self.triangles]
        return self.triangles[corners.any(dim=1) & (self.triangles < N_POINTS).any(dim=1)]

    def upright(self, landmarks: Tensor, rest: Tensor) -> Tensor:
        """Faces [b 468 3] in the pose and size of `rest` [468 3]."""
        scale, turn, middle, rest_middle = similarity(rest.expand_as(landmarks), landmarks, self.upper)
        return (landmarks - middle) @ turn.transpose(-1, -2) / scale[:, None, None] + rest_middle

    def _coefficients(self, displacement: Tensor) -> Tensor:
        flat = self.basis.flatten(1)
        norms = flat.square().sum(dim=1)  # the motions are orthogonal
        return displacement.flatten(-2) @ flat.T / norms


def lip_gap(landmarks: Tensor) -> Tensor:
    """Mean vertical gap between the inner lips, [... 468 2+] -> [...] in pixels."""
    return (landmarks[..., [178, 14, 402], 1] - landmarks[..., [81, 13, 311], 1]).mean(dim=-1)


def similarity(source: Tensor, target: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Least-squares scale [b], turn [b 3 3] and middles [b 1 3] of target and source; rows: source @ turn ~ target."""
    a, b = source[:, points], target[:, points]
    a_middle, b_middle = a.mean(dim=1, keepdim=True), b.mean(dim=1, keepdim=True)
    a, b = a - a_middle, b - b_middle
    u, strength, vh = torch.linalg.svd(a.transpose(1, 2) @ b)
    sign = torch.ones_like(strength)
    sign[:, -1] = torch.linalg.det(u @ vh)  # a turn, never a mirror image
    turn = (u * sign[:, None]) @ vh
    scale = (strength * sign).sum(dim=1) / a.square().sum(dim=(1, 2))
    return scale, turn, b_middle, a_middle


def measure_mesh(clips: Sequence[F32], speakers: Sequence[str], components: int) -> FaceMesh:
    """The mesh of a corpus from each clip's landmarks [t 468 3] in crop pixels; every speaker weighs the same.

    Raises DataError when there are too few frames for that many components.
    """
    frames = sum(len(clip) for clip in clips)
    if frames < 4 * components:
        raise DataError(f"mesh: expected at least {4 * components} frames for {components} motions, found {frames}")
    shapes = [torch.from_numpy(np.asarray(clip, dtype=np.float32)) for clip in clips]
    names = sorted(set(speakers))
    mean = torch.stack([shape.mean(dim=0) for shape in shapes]).mean(dim=0)
    draft = FaceMesh(components, 0)
    draft.template.copy_(mean)
    still = mean[:, 1] < _STILL_Y
    still[[*LEFT_EYE, *RIGHT_EYE, *LEFT_BROW, *RIGHT_BROW]] = False  # lids and brows have a life of their own
    draft.upper.copy_(still)
    rests = {name: [draft.resting(s) for s, of in zip(shapes, speakers, strict=True) if of == name] for name in names}
    persons = torch.stack([torch.stack(rests[name]).mean(dim=0) for name in names])
    draft.template.copy_(persons.mean(dim=0))
    fade = ((draft.template[:, 1] - _STILL_Y) / (_MOVING_Y - _STILL_Y)).clamp(0, 1)[:, None]
    motions = {name: [] for name in names}  # type: dict[str, list[Tensor]]
    for shape, name in zip(shapes, speakers, strict=True):
        rest = draft.resting(shape)
        motions[name].append((draft.upright(shape, rest) - rest) * fade)
    # Most of its eigenvalues are zero: in single precision the solver may not converge.
    scatter = torch.zeros(3 * N_POINTS, 3 * N_POINTS, dtype=torch.float64)
    for name in names:
        flat = torch.cat(motions[name]).flatten(1).double()
        scatter += flat.T @ flat / len(flat) / len(names)
    energy, directions = torch.linalg.eigh(scatter)
    spread = energy[-components:].flip(0).clamp_min(1e-8).sqrt()
    flat = (directions[:, -components:].flip(1) * spread).T
    # Which way a motion counts as positive is the solver's whim, and another machine's may have another.
    flat = flat * flat.gather(1, flat.abs().argmax(dim=1, keepdim=True)).sign()
    draft.basis.copy_(flat.unflatten(1, (N_POINTS, 3)))
    triangles = _cut(draft)
    mesh = FaceMesh(components, len(triangles))
    mesh.load_state_dict(draft.state_dict() | {"triangles": triangles})
    if len(names) > 1:
        mesh.identity.copy_(mesh._coefficients(persons - mesh.template).std(dim=0))
    return mesh


def _cut(mesh: FaceMesh) -> Tensor:
    """Triangles of the template with its mouth open, without those of the inner mouth, [n 3]."""
    opening = torch.zeros(len(mesh.basis))
    opening[0] = _OPEN if lip_gap(mesh.template + mesh.basis[0]) > lip_gap(mesh.template) else -_OPEN
    opened = mesh.template + torch.einsum("k,kpc->pc", opening, mesh.basis)
    points = mesh.vertices(opened[None], mesh.template[None])[0].numpy()
    triangles = torch.from_numpy(triangulate(points))
    inner = torch.zeros(len(points), dtype=torch.bool)
    inner[list(MOUTH_INNER)] = True
    return triangles[~inner[triangles].all(dim=1)]
