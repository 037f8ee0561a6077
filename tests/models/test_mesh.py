"""The mesh: its motion is independent of head pose and of the person's shape."""

import copy

import numpy as np
import pytest
import torch

from cals.errors import DataError
from cals.face.landmarks import LEFT_BROW, LEFT_EYE, MOUTH_INNER, RIGHT_BROW, RIGHT_EYE
from cals.models.geometry import estimate_similarity, measure_lip_gap
from cals.models.mesh import FaceMesh, measure_mesh
from drawn_person import SHAPES, apply_poses, build_mesh, clip, openings

UPPER, LOWER = set(MOUTH_INNER[1:10]), set(MOUTH_INNER[11:])


def test_motion_does_not_depend_on_the_heads_pose(mesh: FaceMesh) -> None:
    still = clip("anna", 60, 7)
    turned = apply_poses(still, 8)
    assert np.abs(turned - still).max() > 5
    upright, swaying = torch.from_numpy(still), torch.from_numpy(turned)
    rest = mesh.estimate_rest(upright)
    torch.testing.assert_close(
        mesh.compute_motion(swaying, rest), mesh.compute_motion(upright, rest), atol=0.01, rtol=0
    )


@pytest.mark.parametrize("moving_heads", [False, True])
def test_the_motions_hold_all_of_the_speech(moving_heads: bool) -> None:
    mesh = build_mesh(moving_heads=moving_heads)
    landmarks = torch.from_numpy(clip("bert", 60, 9))
    rest = mesh.estimate_rest(landmarks)
    motion = mesh.compute_motion(landmarks, rest)
    said = rest + torch.einsum("bk,kpc->bpc", motion, mesh.basis)
    mouth = list(MOUTH_INNER)
    wrong = (mesh.add_motion(landmarks, rest, -motion)[:, mouth] - landmarks.mean(dim=0)[mouth]).std(dim=0).max()
    assert float(wrong) < 0.3  # without its motion every frame shows the same mouth
    assert np.corrcoef(measure_lip_gap(said), openings(60, 9))[0, 1] > 0.999
    assert motion.square().mean(dim=0).sqrt().tolist() == pytest.approx([1, 1], abs=0.3)


def test_only_the_lower_face_moves(mesh: FaceMesh) -> None:
    assert float(mesh.basis[:, mesh.template[:, 1] < 56].abs().max()) < 1e-5
    assert float(mesh.basis[:, list(MOUTH_INNER)].abs().max()) > 1
    assert not mesh.upper[[*LEFT_EYE, *RIGHT_EYE, *LEFT_BROW, *RIGHT_BROW]].any()
    assert int(mesh.upper.sum()) > 50
    flat = mesh.basis.flatten(1)
    inner = flat @ flat.T
    assert abs(float(inner[0, 1])) < 1e-3 * float(inner[1, 1])
    assert inner[0, 0] > inner[1, 1]  # the strongest first


def test_nothing_changed_is_nothing_moved(mesh: FaceMesh) -> None:
    landmarks = torch.from_numpy(apply_poses(clip("cleo", 12, 3), 4))
    rest = mesh.estimate_rest(landmarks)
    assert torch.equal(mesh.add_motion(landmarks, rest, torch.zeros(12, 2)), landmarks)


def test_a_change_of_motion_is_seen_as_that_change(mesh: FaceMesh) -> None:
    landmarks = torch.from_numpy(apply_poses(clip("cleo", 12, 3), 4))
    rest = mesh.estimate_rest(landmarks)
    change = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    after = mesh.compute_motion(mesh.add_motion(landmarks, rest, change), rest)
    torch.testing.assert_close(after, mesh.compute_motion(landmarks, rest) + change, atol=0.01, rtol=0)


def test_a_person_at_rest_has_closed_lips(mesh: FaceMesh) -> None:
    landmarks = torch.from_numpy(apply_poses(clip("anna", 60, 5), 6))
    assert float(measure_lip_gap(landmarks).mean()) > 2
    assert float(measure_lip_gap(mesh.estimate_rest(landmarks))) < 0.5


@pytest.mark.parametrize("person", SHAPES)
def test_of_one_open_mouth_rest_is_guessed_less_open(mesh: FaceMesh, person: str) -> None:
    landmarks = torch.from_numpy(clip(person, 60, 5))
    widest = landmarks[measure_lip_gap(landmarks).argmax()][None]
    guessed, true = mesh.estimate_rest(widest), mesh.estimate_rest(landmarks)
    assert float(measure_lip_gap(guessed)) < 0.6 * float(measure_lip_gap(widest[0]))
    assert float((guessed - true).abs().max()) < 0.6 * float((widest[0] - true).abs().max())


def test_shape_is_not_taken_for_motion_where_persons_differ(mesh: FaceMesh) -> None:
    knows, ignores = mesh, copy.deepcopy(mesh)
    ignores.identity.zero_()
    odd = mesh.template + 1.5 * mesh.identity[0] * mesh.basis[0]
    odd = odd if measure_lip_gap(odd) < measure_lip_gap(mesh.template) else 2 * mesh.template - odd
    kept = [float((each.estimate_rest(odd[None]) - mesh.template).norm()) for each in (knows, ignores)]
    assert float(mesh.identity.max()) > 0.05
    assert kept[1] < 0.05 * float((odd - mesh.template).norm())
    assert kept[0] > 2 * kept[1]  # lips pressed together may be someone's shape; open ones are closed in any case


def test_triangles_leave_the_inner_mouth_open(mesh: FaceMesh) -> None:
    inner = set(MOUTH_INNER)
    corners = [set(triangle) for triangle in mesh.triangles.tolist()]
    assert not any(triangle <= inner for triangle in corners)
    assert not any(triangle & UPPER and triangle & LOWER for triangle in corners)  # none bridges the lips
    used = set().union(*corners)
    assert set(range(468)) - used == set()
    assert max(used) == 468 + 36 - 1
    below = {i for i in range(468) if mesh.template[i, 1] > 56}
    lower = [set(triangle) for triangle in mesh.lower_triangles.tolist()]
    assert 0 < len(lower) < len(corners)
    assert set().union(*lower) >= below  # whatever speech may move
    assert not any(max(triangle) < 468 and not triangle & below for triangle in lower)


def test_a_similarity_is_found_again() -> None:
    source = torch.from_numpy(clip("anna", 1, 0))
    angle = torch.tensor(0.4)
    turn = torch.eye(3)
    turn[:2, :2] = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    target = 1.7 * source @ turn + torch.tensor([3.0, -5.0, 2.0])
    scale, found, to_middle, from_middle = estimate_similarity(source, target, torch.ones(468, dtype=torch.bool))
    assert float(scale[0]) == pytest.approx(1.7, rel=1e-4)
    torch.testing.assert_close(found[0], turn, atol=1e-4, rtol=0)
    again = scale[:, None, None] * (source - from_middle) @ found + to_middle
    torch.testing.assert_close(again, target, atol=0.01, rtol=0)
    mirror = source * torch.tensor([-1.0, 1, 1])
    assert float(torch.linalg.det(estimate_similarity(source, mirror, torch.ones(468, dtype=torch.bool))[1])) > 0.99


def test_every_speaker_weighs_the_same() -> None:
    one, other = clip("anna", 60, 1), clip("bert", 60, 2)
    twice = measure_mesh([one, one, one, other], ["a", "a", "a", "b"], 2)
    once = measure_mesh([one, other], ["a", "b"], 2)
    torch.testing.assert_close(twice.basis.abs(), once.basis.abs(), atol=0.1, rtol=0)
    alone = measure_mesh([one], ["a"], 2)
    assert float((alone.basis.abs() - once.basis.abs()).abs().max()) > 0.2


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(DataError, match="expected at least 64 frames for 16 motions, found 30"):
        measure_mesh([clip("anna", 30, 0)], ["a"], 16)
