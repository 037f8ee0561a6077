"""The face descriptor on drawn faces: the same skin and features against others."""

import cv2
import numpy as np
import pytest

from cals.metrics.identity import identity_features, identity_similarity
from drawn_face import picture, points


def draw_face(seed: int, open_px: float = 0.0) -> np.ndarray:
    """Draw a face with its own brows and nose, drawn as lines."""
    crop = picture(points(open_px), seed)
    rng = np.random.default_rng(seed)
    for _ in range(12):
        ends = rng.integers(30, 98, (2, 2))
        cv2.line(crop, tuple(map(int, ends[0])), tuple(map(int, ends[1])), (60, 50, 50), 2)
    return crop


def test_a_person_is_nearer_to_themselves_than_to_others() -> None:
    people = [np.stack([draw_face(seed), draw_face(seed, 6.0)]) for seed in range(5)]
    darker = [np.clip(p * 0.8 + 12, 0, 255).astype(np.uint8) for p in people]
    similarities = np.array([[identity_similarity(a, b) for b in darker] for a in people])
    same_person = np.diag(similarities)
    others = similarities[~np.eye(5, dtype=bool)]
    assert same_person.min() > others.max() + 0.05


def test_it_is_the_mean_over_all_pairs_of_frames() -> None:
    a, b = np.stack([draw_face(0), draw_face(1)]), np.stack([draw_face(2), draw_face(3), draw_face(4)])
    pairs = [float(identity_features(x) @ identity_features(y)) for x in a for y in b]
    assert identity_similarity(a, b) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert identity_similarity(a[:1], a[:1]) == pytest.approx(1.0)


def test_light_and_background_do_not_count() -> None:
    crop = draw_face(0)
    brighter = np.clip(crop.astype(int) + 30, 0, 255).astype(np.uint8)
    assert identity_similarity(crop[None], brighter[None]) > 0.995
    other_background = crop.copy()
    other_background[:, :16] = np.random.default_rng(0).integers(0, 255, (128, 16, 3))
    assert identity_similarity(crop[None], other_background[None]) > 0.995


def test_a_gradient_goes_to_its_direction() -> None:
    """A ramp to the right has all its gradients at angle 0, one downwards at a right angle (4.5 of 9)."""
    ramp = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None], 128, axis=0).repeat(3, axis=2)
    right = identity_features(ramp).reshape(-1, 9)
    down = identity_features(ramp.transpose(1, 0, 2)).reshape(-1, 9)
    assert np.allclose(right[:, 1:], 0, atol=1e-3)
    assert right[:, 0].min() > 0
    assert np.allclose(down[:, 4], down[:, 5], rtol=1e-3)
    assert np.allclose(down[:, [0, 1, 2, 3, 6, 7, 8]], 0, atol=1e-3)


def test_what_is_no_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        identity_features(np.zeros((128, 100, 3), np.uint8))
    with pytest.raises(ValueError, match="one crop or more"):
        identity_similarity(np.zeros((0, 128, 128, 3), np.uint8), np.zeros((1, 128, 128, 3), np.uint8))
