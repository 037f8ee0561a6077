"""Target motion: scaled to the average speaker, in sync with the audio, and defined for still mouths."""

from typing import cast

import numpy as np
import pytest
import torch

from cals.data.store import ClipStore
from cals.models.mesh import FaceMesh, measure_lip_gap
from cals.training import geometry
from cals.training.geometry import Geometry, measure_corpus_mesh, measure_geometry
from cals.types import F32
from drawn_person import clip


class StoreStub:
    """The part of a store that geometry needs: speaker and landmarks of each clip."""

    def __init__(self, *clips: tuple[str, F32]) -> None:
        self.speakers, self._clips = [name for name, _ in clips], [points for _, points in clips]

    def __len__(self) -> int:
        return len(self._clips)

    def landmarks(self, index: int) -> F32:
        return self._clips[index]


def build_store(*clips: tuple[str, F32]) -> ClipStore:
    return cast(ClipStore, StoreStub(*clips))


def widen(landmarks: F32, share: float) -> F32:
    """Build the same face with scaled motion."""
    rest = landmarks[landmarks[:, 14, 1].argmin()]
    return np.asarray(rest + share * (landmarks - rest), dtype=np.float32)


def deviation(mesh: FaceMesh, *faces: Geometry) -> float:
    return float(torch.cat([face.target @ measure_lip_gap(mesh.basis) for face in faces]).std())


def test_speakers_are_brought_to_one_deviation(mesh: FaceMesh) -> None:
    calm, lively = clip("anna", 60, 1), widen(clip("anna", 60, 2), 1.8)
    found, average = measure_geometry(
        mesh, build_store(("a", calm), ("b", lively), ("a", widen(clip("anna", 60, 3), 0.5)))
    )
    assert deviation(mesh, found[1]) == pytest.approx(average, rel=1e-3)
    assert deviation(mesh, found[0], found[2]) == pytest.approx(average, rel=1e-3)
    own = [float((face.motion @ measure_lip_gap(mesh.basis)).std()) for face in found]
    assert own[1] > 1.5 * own[0]
    # Within a speaker, who moved less in one clip still does.
    assert deviation(mesh, found[2]) < 0.7 * deviation(mesh, found[0])


def test_a_mouth_that_stands_still_divides_nothing(mesh: FaceMesh) -> None:
    still = np.repeat(clip("bert", 1, 1), 40, axis=0)
    found, average = measure_geometry(mesh, build_store(("a", clip("anna", 60, 1)), ("b", still)))
    alone, usual = measure_geometry(mesh, build_store(("b", still)))
    assert average == pytest.approx(measure_geometry(mesh, build_store(("a", clip("anna", 60, 1))))[1])
    for face in (found[1], alone[0]):
        assert bool(torch.isfinite(face.target).all())
        assert float(face.target.abs().max()) < 0.05
    assert usual == 1.0


@pytest.mark.parametrize("offset", [0.0, 2.0, -1.5])
def test_targets_are_in_time_with_the_sound(mesh: FaceMesh, offset: float) -> None:
    store = build_store(("a", clip("anna", 60, 1)))
    (plain,), average = measure_geometry(mesh, store)
    (moved,), same = measure_geometry(mesh, store, [offset])
    assert same == average
    assert torch.equal(moved.motion, plain.motion)
    inside = np.arange(5, 55)
    expected = np.stack(
        [np.interp(inside - offset, np.arange(60), column) for column in plain.target.T.numpy()], axis=1
    )
    np.testing.assert_allclose(moved.target[5:55], expected, atol=1e-5)


def test_the_corpus_mesh_takes_as_many_clips_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "MAX_CLIPS_PER_SPEAKER", 2)
    first = [("a", clip("anna", 40, 1)), ("a", clip("anna", 40, 2)), ("b", clip("bert", 40, 3))]
    few = measure_corpus_mesh(build_store(*first), 2)
    more = measure_corpus_mesh(build_store(*first, ("a", widen(clip("anna", 40, 4), 5.0))), 2)
    torch.testing.assert_close(more.basis, few.basis)
