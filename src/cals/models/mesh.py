"""A mesh model of the lower face that separates the person's shape, the head pose and the motion of speech."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cals.errors import DataError
from cals.face.landmarks import LEFT_BROW, LEFT_EYE, MOUTH_INNER, N_POINTS, RIGHT_BROW, RIGHT_EYE
from cals.models.geometry import STILL_Y, MeshGeometry, measure_lip_gap
from cals.nn.warp import triangulate
from cals.types import F32

_MOVING_Y = 72.0
"""Row in a crop of 128 px below which points move fully; above `STILL_Y` they stay."""
_OPEN_STD = 2.0
"""Mouth opening, in standard deviations, at which the mesh is triangulated, so that no triangle bridges the lips."""


class FaceMesh(MeshGeometry, nn.Module):
    """The model of lower-face motion in buffers of a module."""

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
    still = mean[:, 1] < STILL_Y
    still[[*LEFT_EYE, *RIGHT_EYE, *LEFT_BROW, *RIGHT_BROW]] = False  # lids and brows move independently of speech
    initial.upper.copy_(still)
    rests = {
        name: [initial.estimate_rest(s) for s, of in zip(shapes, speakers, strict=True) if of == name] for name in names
    }
    person_rests = torch.stack([torch.stack(rests[name]).mean(dim=0) for name in names])
    initial.template.copy_(person_rests.mean(dim=0))
    fade = ((initial.template[:, 1] - STILL_Y) / (_MOVING_Y - STILL_Y)).clamp(0, 1)[:, None]
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
