"""Appearance of the mouth: the same for a turned head and in any light, another where teeth show."""

import numpy as np
import pytest
import torch

import drawn_face
from cals.face.patches import PATCH_PX, PATCH_VALUES, sample_patches
from cals.models.appearance import (
    compute_patch_places,
    estimate_rest_appearance,
    normalize_appearance,
    project_patches,
)
from cals.models.mesh import FaceMesh
from cals.types import F32, U8
from drawn_person import apply_poses, clip


def sample(mesh: FaceMesh, crops: list[U8], landmarks: F32) -> F32:
    points = torch.from_numpy(landmarks)
    places = compute_patch_places(mesh, points, mesh.estimate_rest(points))
    return sample_patches(np.stack(crops), places.numpy())


def test_a_patch_shows_the_mouth_in_any_light(mesh: FaceMesh) -> None:
    faces = clip("anna", 30, 1)
    crops = [drawn_face.picture(face) for face in faces]
    patches = sample(mesh, crops, faces)
    assert patches.shape == (30, PATCH_VALUES)
    dark = sample(mesh, [crop // 2 for crop in crops], faces)
    assert np.abs(dark - patches).mean() < 0.02 * np.abs(patches).mean()
    # what changes from frame to frame is the middle, where the lips part
    spread = patches.std(axis=0).reshape(PATCH_PX[1], PATCH_PX[0], 3).mean(axis=2)
    assert spread[3:9, 5:13].mean() > 3 * spread[:, [0, -1]].mean()


def test_places_turn_with_the_head(mesh: FaceMesh) -> None:
    """Check that each sample sees the same point of the skull in every pose: there, a plane picture of depth."""
    faces = np.repeat(clip("bert", 1, 1), 12, axis=0)
    posed = apply_poses(faces, 3)
    rest = torch.from_numpy(faces[0])
    straight, turned = (compute_patch_places(mesh, torch.from_numpy(points), rest) for points in (faces, posed))
    assert float((turned - straight).abs().max()) > 2
    nearest = [int(np.hypot(*(faces[0, k, :2] - straight[0].reshape(-1, 2).numpy()).T).argmin()) for k in (61, 0, 291)]
    for point, place in zip((61, 0, 291), nearest, strict=True):
        before = straight[0].reshape(-1, 2)[place].numpy() - faces[0, point, :2]
        after = turned.reshape(12, -1, 2)[:, place].numpy() - posed[:, point, :2]
        assert np.abs(after - before).max() < 2.5


def test_coefficients_are_relative_and_of_one_spread() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(PATCH_VALUES, 3)))[0].T.astype(np.float32)
    patches = (rng.normal(size=(50, 3)) @ basis + 5).astype(np.float32)
    coefficients = project_patches(basis, patches)
    np.testing.assert_allclose(coefficients.mean(axis=0), 0, atol=1e-4)
    # project what is spanned and nothing else is lost
    np.testing.assert_allclose(coefficients @ basis, patches - patches.mean(axis=0), atol=1e-3)
    for scale, spread in ((1.0, 1.0), (0.6, 1.0), (0.01, 0.01 / 0.5)):
        own = coefficients / np.sqrt(np.square(coefficients).sum(axis=1).mean()) * scale
        found = np.sqrt(np.square(normalize_appearance(own)).sum(axis=1).mean())
        assert found == pytest.approx(spread, rel=1e-3)  # a still mouth's noise is not raised to speech


def test_rest_is_how_closed_mouths_look() -> None:
    openings = np.arange(20, dtype=np.float32)
    coefficients = np.stack([openings, -openings], axis=1)
    np.testing.assert_allclose(estimate_rest_appearance(coefficients, openings), [1.5, -1.5])
