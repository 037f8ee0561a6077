"""PSNR and SSIM against scikit-image; sharpness against ramps of known steepness."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cals.metrics.image import gradient_energy, psnr, ssim, wrapped_psnr


def draw_pair(noise: float, size: tuple[int, int] = (64, 128)) -> tuple[np.ndarray, np.ndarray]:
    """Draw a smooth picture with noise, and the picture without it."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    target = np.stack([128 + 90 * np.sin(x / 7), 120 + 80 * np.cos(y / 9), (x + y) % 256], axis=-1)
    generated = target + rng.normal(0, noise, target.shape)
    return np.clip(generated, 0, 255).astype(np.uint8), np.clip(target, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [1.0, 8.0, 60.0])
def test_both_agree_with_scikit_image(noise: float) -> None:
    generated, target = draw_pair(noise)
    assert psnr(generated, target) == pytest.approx(peak_signal_noise_ratio(target, generated, data_range=255))
    expected = structural_similarity(
        target,
        generated,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert ssim(generated, target) == pytest.approx(expected, abs=1e-6)


def test_equal_pictures() -> None:
    picture = draw_pair(5.0)[0]
    assert psnr(picture, picture) == math.inf
    assert ssim(picture, picture) == pytest.approx(1.0)


def test_only_the_region_counts() -> None:
    target = np.zeros((20, 20, 3), np.uint8)
    generated = target.copy()
    generated[:10] = 200
    generated[10:] = 255  # the peak itself: 0 dB
    lower = np.zeros((20, 20), bool)
    lower[10:] = True
    assert psnr(generated, target, lower) == pytest.approx(0.0)
    assert psnr(generated, target, ~lower) == pytest.approx(20 * math.log10(255 / 200))


def test_ssim_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11 px"):
        ssim(np.zeros((10, 40, 3), np.uint8), np.zeros((10, 40, 3), np.uint8))


def test_gradient_energy_is_the_squared_slope_in_the_region() -> None:
    x = np.arange(40)
    picture = np.repeat(np.where(x < 20, 2 * x, 40 + 5 * (x - 20))[None, :, None], 12, axis=0).repeat(3, axis=2)
    left = np.zeros((12, 40), bool)
    left[:, 2:18] = True
    right = np.zeros((12, 40), bool)
    right[:, 22:38] = True
    assert gradient_energy(picture.astype(np.uint8), left) == pytest.approx(4.0)
    assert gradient_energy(picture.astype(np.uint8), right) == pytest.approx(25.0)


def test_wrapped_psnr_wraps_differences_and_squares() -> None:
    generated, target = draw_pair(60.0)
    wrapped = [((int(a) - int(b)) ** 2) % 256 for a, b in zip(generated.flat, target.flat, strict=True)]
    assert wrapped_psnr(generated, target) == pytest.approx(10 * math.log10(255**2 / np.mean(wrapped)))
    assert wrapped_psnr(target, target) == math.inf
    assert wrapped_psnr(np.full_like(target, 48), np.full_like(target, 16)) == math.inf  # 32 squared is 4 times 256
    shifted = np.clip(target, 0, 240) + np.uint8(15)  # 15 squared still fits
    assert wrapped_psnr(shifted, np.clip(target, 0, 240)) == pytest.approx(20 * math.log10(255 / 15))


def test_wrapped_psnr_of_unrelated_pictures_is_the_published_floor() -> None:
    a, b = np.random.default_rng(0).integers(0, 256, (2, 200, 200, 3), dtype=np.uint8)
    assert wrapped_psnr(a, b) == pytest.approx(27.9, abs=0.05)
    lower = np.zeros((200, 200), bool)
    lower[100:] = True
    assert wrapped_psnr(np.where(lower[..., None], b, a), b, lower) == math.inf
