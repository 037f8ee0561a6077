"""Targets of the mesh decoder: the look of mouths in one scale for all speakers, in sync with the audio."""

from typing import cast

import numpy as np
import pytest
import torch

import drawn_face
from cals.data.store import ClipStore
from cals.errors import DataError
from cals.models.mesh import FaceMesh
from cals.training.geometry import measure_geometry
from cals.training.mouths import Mouth, fit_appearance_basis, measure_mouths
from cals.types import F32, U8
from drawn_person import clip, openings


class StoreStub:
    """The part of a store that is needed: speaker, landmarks and pictures of each clip."""

    def __init__(self, *clips: tuple[str, F32, list[U8]]) -> None:
        self.speakers = [name for name, *_ in clips]
        self._clips = [(landmarks, np.stack(crops)) for _, landmarks, crops in clips]

    def __len__(self) -> int:
        return len(self._clips)

    def frames(self, index: int) -> int:
        return len(self._clips[index][0])

    def landmarks(self, index: int) -> F32:
        return self._clips[index][0]

    def decode_crops(self, index: int) -> U8:
        return self._clips[index][1]


def draw_clip(person: str, seed: int, contrast: float = 1.0) -> tuple[str, F32, list[U8]]:
    """Draw a clip; with less contrast the same mouths change less."""
    landmarks = clip(person, 40, seed)
    crops = [drawn_face.picture(face).astype(np.float32) for face in landmarks]
    mean = np.mean(crops, axis=0)
    return person, landmarks, [(mean + contrast * (crop - mean)).astype(np.uint8) for crop in crops]


def measure(
    mesh: FaceMesh, *clips: tuple[str, F32, list[U8]], components: int = 4, offsets: list[float] | None = None
) -> list[Mouth]:
    store = cast(ClipStore, StoreStub(*clips))
    geometry, _ = measure_geometry(mesh, store, offsets)
    basis = fit_appearance_basis(mesh, store, geometry, components)
    return measure_mouths(mesh, basis, store, geometry, offsets)


def measure_spread(mouth: Mouth, mesh: FaceMesh) -> float:
    return float(mouth.target[:, len(mesh.basis) :].square().sum(dim=1).mean().sqrt())


def test_every_speaker_has_one_spread_around_the_mean(mesh: FaceMesh) -> None:
    mouths = measure(mesh, draw_clip("anna", 1), draw_clip("bert", 2, contrast=0.4))
    for mouth in mouths:
        assert mouth.target.shape == (40, len(mesh.basis) + 4)
        assert measure_spread(mouth, mesh) == pytest.approx(1, rel=0.02)
        assert float(mouth.target[:, len(mesh.basis) :].mean(dim=0).abs().max()) < 1e-3


def test_the_main_component_is_whether_the_mouth_is_open(mesh: FaceMesh) -> None:
    (mouth,) = measure(mesh, draw_clip("anna", 3))
    appearance, k = mouth.target[:, len(mesh.basis) :], len(mesh.basis)
    assert abs(np.corrcoef(appearance[:, 0].numpy(), openings(40, 3))[0, 1]) > 0.8
    closed = openings(40, 3) < 0.1
    assert float((appearance[closed].mean(dim=0) - mouth.rest[k:]).norm()) < 0.4
    assert float(mouth.rest[k:].norm()) > 0.5
    assert float(mouth.rest[:k].abs().max()) == 0


@pytest.mark.parametrize("offset", [0.0, 2.0])
def test_looks_are_in_time_with_the_sound(mesh: FaceMesh, offset: float) -> None:
    (plain,) = measure(mesh, draw_clip("anna", 3))
    (moved,) = measure(mesh, draw_clip("anna", 3), offsets=[offset])
    shift = int(offset)
    torch.testing.assert_close(moved.target[shift:], plain.target[: 40 - shift])


def test_without_components_nothing_is_decoded(mesh: FaceMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(StoreStub, "decode_crops")
    (mouth,) = measure(mesh, draw_clip("anna", 3), components=0)
    assert mouth.target.shape == (40, len(mesh.basis))


def test_too_few_frames_are_named(mesh: FaceMesh) -> None:
    with pytest.raises(DataError, match="expected at least 44 frames for 11, found 40"):
        measure(mesh, draw_clip("anna", 3), components=11)
