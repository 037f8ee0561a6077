"""The Frechet distance against scipy's square root of a matrix and against closed forms."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from cals.metrics.frechet import extract_trunk_features, frechet_distance
from cals.models.sync import SyncConfig, VisualEncoder


def draw_features(n: int, d: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def test_it_agrees_with_scipy() -> None:
    a, b = draw_features(400, 12, 0), draw_features(300, 12, 1)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    mean_difference = a.mean(axis=0) - b.mean(axis=0)
    expected = mean_difference @ mean_difference + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-8)


def test_commuting_covariances_have_a_closed_form() -> None:
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)  # covariance: the unit matrix
    a, b = signs * (2, 5), signs * (3, 1) + (1, -2)
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + (2 - 3) ** 2 + (5 - 1) ** 2)


def test_fewer_samples_than_dimensions() -> None:
    a = draw_features(10, 64, 2)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6 * np.trace(np.cov(a, rowvar=False)))
    assert frechet_distance(a, a + 2.0) == pytest.approx(4 * 64, rel=1e-6)
    assert frechet_distance(a, 3 * (a - a.mean(axis=0)) + a.mean(axis=0)) == pytest.approx(
        4 * np.trace(np.cov(a, rowvar=False)), rel=1e-6
    )


def test_sets_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="one width"):
        frechet_distance(draw_features(9, 3, 0), draw_features(9, 4, 0))
    with pytest.raises(ValueError, match="2 or more"):
        frechet_distance(draw_features(1, 3, 0), draw_features(9, 3, 0))


def test_features_are_the_trunks_averaged_over_place() -> None:
    torch.manual_seed(0)
    encoder = VisualEncoder(SyncConfig(crop_px=64, width=4)).eval()
    windows = torch.rand(3, 5, 3, 32, 64)
    features = extract_trunk_features(encoder, windows)
    x = torch.nn.functional.pixel_unshuffle(windows.flatten(1, 2) * 2 - 1, 2)
    assert features.shape == (3, 32)
    assert torch.allclose(features, encoder.layers(x).mean(dim=(2, 3)), atol=1e-6)
    assert not encoder.layers._forward_hooks
