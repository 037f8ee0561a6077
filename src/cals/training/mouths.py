"""Targets of the mesh decoder: motion and appearance of a corpus's mouths, and the basis of appearance."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from cals.data.store import ClipStore
from cals.errors import DataError
from cals.face.patches import PATCH_VALUES, sample_patches
from cals.models.appearance import compute_patch_places, estimate_rest_appearance, project_patches
from cals.models.geometry import measure_lip_gap
from cals.models.mesh import FaceMesh
from cals.training.geometry import Geometry, delay_curves, select_clips


@dataclass(frozen=True, eq=False)
class Mouth:
    """One clip's mouth, as the average speaker's, corrected for the offset of the audio."""

    target: Tensor = field(repr=False)
    """[t k + j] Motion relative to rest, and appearance relative to the clip's mean."""
    rest: Tensor
    """[k + j] The same of the mouth at rest; its motion is zero."""


def fit_appearance_basis(mesh: FaceMesh, store: ClipStore, geometry: Sequence[Geometry], components: int) -> Tensor:
    """Fit the main components [j p] of a corpus's patches; every speaker has the same weight.

    They are scaled so that the average speaker's coefficients have a mean square sum of 1. Raises DataError when there
    are too few frames for that many components.
    """
    if not components:
        return torch.zeros(0, PATCH_VALUES)
    speakers = store.speakers
    chosen = select_clips(speakers)
    frames = sum(store.frames(i) for i in chosen)
    if frames < 4 * components:
        raise DataError(f"appearance: expected at least {4 * components} frames for {components}, found {frames}")
    scatter = torch.zeros(PATCH_VALUES, PATCH_VALUES, dtype=torch.float64)
    counts: dict[str, int] = {}
    for i in chosen:
        counts[speakers[i]] = counts.get(speakers[i], 0) + store.frames(i)
    for i in chosen:
        patches = _sample_clip(mesh, store, i, geometry[i]).double()
        centred = patches - patches.mean(dim=0)
        scatter += centred.T @ centred / counts[speakers[i]] / len(counts)
    energy, directions = torch.linalg.eigh(scatter)
    basis = directions[:, PATCH_VALUES - components :].flip(1).T
    # The sign of an eigenvector is arbitrary and differs between machines, so it is fixed here.
    basis = basis * basis.gather(1, basis.abs().argmax(dim=1, keepdim=True)).sign()
    spread = energy[PATCH_VALUES - components :].sum().sqrt().clamp_min(1e-6)
    return (basis / spread).float()


def measure_mouths(
    mesh: FaceMesh,
    basis: Tensor,
    store: ClipStore,
    geometry: Sequence[Geometry],
    offsets: Sequence[float] | None = None,
) -> list[Mouth]:
    """Join the motion of all clips with their appearance by `basis` [j p].

    Pictures are decoded for it, unless the basis is empty, and not kept. `offsets` in frames are > 0 where a clip's
    audio is late; the motion is already corrected for them.
    """
    if not len(basis):
        return [Mouth(clip.target, torch.zeros(len(mesh.basis))) for clip in geometry]
    coefficients = [project_patches(basis, _sample_clip(mesh, store, i, clip)) for i, clip in enumerate(geometry)]
    speakers = np.array(store.speakers)
    spreads = {
        name: torch.cat([coefficients[i] for i in np.flatnonzero(speakers == name)]).square().sum(dim=1).mean().sqrt()
        for name in np.unique(speakers)
    }
    mouths = []
    for i, (clip, name) in enumerate(zip(geometry, speakers, strict=True)):
        appearance = coefficients[i] / spreads[name].clamp_min(1e-3)
        rest = estimate_rest_appearance(appearance, clip.motion @ measure_lip_gap(mesh.basis))
        target = appearance if offsets is None else delay_curves(appearance, offsets[i])
        mouths.append(Mouth(torch.cat([clip.target, target], 1), torch.cat([torch.zeros(len(mesh.basis)), rest])))
    return mouths


def _sample_clip(mesh: FaceMesh, store: ClipStore, index: int, geometry: Geometry) -> Tensor:
    """Sample the patches [t p] of a clip."""
    places = compute_patch_places(mesh, torch.from_numpy(store.landmarks(index)), geometry.rest)
    return torch.from_numpy(sample_patches(store.decode_crops(index), places.numpy()))
