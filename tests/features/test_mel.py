import numpy as np
import pytest
import torch

from cals.errors import ConfigError
from cals.features.mel import (
    MelConfig,
    _hz_to_mel,
    _mel_to_hz,
    build_slaney_filterbank,
    compute_log_mel,
    iterate_log_mel,
)

CONFIG = MelConfig()


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def reference(wav: np.ndarray) -> np.ndarray:
    """Compute the same features by an explicit Fourier sum in float64."""
    hop, window = CONFIG.timing.hop, CONFIG.window
    hops = -(-len(wav) // hop)
    padded = np.concatenate([np.zeros(CONFIG.margin), wav, np.zeros(hop + CONFIG.margin)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    basis = np.exp(-2j * np.pi * np.outer(np.arange(window), np.arange(window // 2 + 1)) / window)
    frames = np.stack([padded[j * hop : j * hop + window] * hann for j in range(hops)])
    power = np.abs(frames @ basis) ** 2
    return 10 * np.log10(np.maximum(power @ build_slaney_filterbank(CONFIG).astype(np.float64), 1e-10))


@pytest.mark.parametrize("samples", [160, 161, 640, 4001])
def test_against_an_explicit_fourier_sum(samples: int) -> None:
    wav = noise(samples)
    found = compute_log_mel(torch.from_numpy(wav[None]), CONFIG)[0].numpy()
    assert found.shape == (-(-samples // 160), 80)
    np.testing.assert_allclose(found, reference(wav), atol=2e-3)


def test_slaney_scale_at_known_points() -> None:
    # Slaney's scale: 3 mels per 200 Hz up to 1 kHz, then 27 mels per factor 6.4.
    np.testing.assert_allclose(_hz_to_mel(np.array([60.0, 110.0, 440.0, 1000.0, 6400.0])), [0.9, 1.65, 6.6, 15, 42])
    hz = np.linspace(0, 8000, 50)
    np.testing.assert_allclose(_mel_to_hz(_hz_to_mel(hz)), hz, atol=1e-8)


def test_filters_have_equal_area_and_cover_the_band() -> None:
    fine = build_slaney_filterbank(MelConfig(window=16000 - 16000 % 2, low_hz=0.0))  # 1 Hz bins
    np.testing.assert_allclose(fine.sum(0), 1.0, rtol=0.02)


@pytest.mark.parametrize("block", [7, 160, 1000, 10**6])
def test_stream_equals_the_whole(block: int) -> None:
    wav = noise(16_123)
    whole = compute_log_mel(torch.from_numpy(wav[None]), CONFIG)[0]
    parts = list(iterate_log_mel((wav[i : i + block] for i in range(0, len(wav), block)), CONFIG, torch.from_numpy))
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-4, rtol=0)


def test_silence_is_the_floor_and_a_click_stays_in_its_frame() -> None:
    wav = torch.zeros(1, 1600)
    assert (compute_log_mel(wav, CONFIG) == CONFIG.floor_db).all()
    wav[0, 5 * 160 + 80] = 1.0
    loudness = compute_log_mel(wav, CONFIG)[0].mean(-1)
    assert int(loudness.argmax()) == 5
    assert loudness[4] == pytest.approx(float(loudness[6]), abs=0.5)  # symmetric: no half-hop shift


def test_impossible_configs_are_refused() -> None:
    with pytest.raises(ConfigError, match="window"):
        MelConfig(window=100)
    with pytest.raises(ConfigError, match="half the sample rate"):
        MelConfig(high_hz=9000)
