"""Other sounds lie as far below speech as told, and where there is no speech there is none."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from cals.data import noises
from cals.data.noises import (
    NoiseAugment,
    NoiseBank,
    add_noise,
    draw_breaths,
    draw_chords,
    draw_drums,
    draw_melody,
    draw_noise,
)
from cals.data.windows import add_pauses, resample
from cals.errors import ConfigError
from cals.features.mel import MelConfig

NEVER = {"mixed": 0.0, "babble": 0.0, "alone": 0.0}


@pytest.fixture(scope="module")
def bank() -> Iterator[NoiseBank]:
    """Two sounds of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noises, "_COUNT", 10)
        yield NoiseBank(MelConfig())


def speech(rows: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return -40 + 8 * torch.randn(rows, 120, 80, generator=generator)


def power(mel: Tensor) -> Tensor:
    return (10 ** (mel.double() / 10)).mean(dim=(1, 2))


def level_db(one: Tensor, other: Tensor) -> list[float]:
    return (10 * torch.log10(one / other)).tolist()


@pytest.mark.parametrize("snr_db", [-5.0, 10.0, 30.0])
def test_noise_lies_as_far_below_speech_as_told(bank: NoiseBank, snr_db: float) -> None:
    config, mel = NoiseAugment(**NEVER | {"mixed": 1.0}, snr_db=(snr_db, snr_db)), speech(8)
    mixture, alone = add_noise(mel, np.random.default_rng(0), config, bank)
    assert not alone.any()
    assert mixture.shape == mel.shape
    assert mixture.dtype == mel.dtype
    assert level_db(power(mel), power(mixture) - power(mel)) == pytest.approx([snr_db] * 8, abs=0.1)


def test_babble_is_the_others_of_the_batch_and_lies_deeper(bank: NoiseBank) -> None:
    config, mel = NoiseAugment(**NEVER | {"babble": 1.0}, snr_db=(3.0, 3.0)), speech(4)
    mixture, _ = add_noise(mel, np.random.default_rng(0), config, bank)
    assert level_db(power(mel), power(mixture) - power(mel)) == pytest.approx([8.0] * 4, abs=0.1)
    one = add_noise(mel[:1], np.random.default_rng(0), config, bank)[0]
    torch.testing.assert_close(one, mel[:1])  # alone in the batch there is nobody to babble


@pytest.mark.parametrize("babble", [0.0, 1.0])
def test_of_what_is_alone_no_speech_is_heard(bank: NoiseBank, babble: float) -> None:
    config = NoiseAugment(mixed=0.5, babble=babble, alone=1.0, snr_db=(0.0, 0.0))
    one, other = speech(6), speech(6).flip(1)  # other speech of the same power
    mixture = [add_noise(mel, np.random.default_rng(0), config, bank) for mel in (one, other)]
    assert all(alone.all() for _, alone in mixture)
    torch.testing.assert_close(mixture[0][0], mixture[1][0])
    assert level_db(power(mixture[0][0]), power(one)) == pytest.approx([0.0] * 6, abs=0.1)


def test_as_many_rows_as_told_are_mixed_or_alone(bank: NoiseBank) -> None:
    config, mel = NoiseAugment(mixed=0.3, babble=0.0, alone=0.2), speech(300)[:, :8]
    mixture, alone = add_noise(mel, np.random.default_rng(0), config, bank)
    changed = (mixture - mel).abs().amax(dim=(1, 2)).numpy() > 1e-3
    assert alone.mean() == pytest.approx(0.2, abs=0.06)
    assert changed[~alone].mean() == pytest.approx(0.3, abs=0.08)
    torch.testing.assert_close(mixture[~changed], mel[~changed], atol=1e-4, rtol=0)


def test_the_same_seed_is_the_same_sound(bank: NoiseBank) -> None:
    config, mel = NoiseAugment(mixed=1.0, alone=0.3), speech(4)
    one, again, other = (add_noise(mel, np.random.default_rng(seed), config, bank)[0] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(NoiseBank(MelConfig()).mels, bank.mels)
    assert not torch.equal(NoiseBank(MelConfig(), seed=1).mels, bank.mels)


def test_sounds_of_any_length_are_sampled(bank: NoiseBank) -> None:
    rng = np.random.default_rng(0)
    for length in (1, 120, 2 * bank.mels.shape[1] + 7):
        assert bank.sample(rng, length).shape == (length, 80)


@pytest.mark.parametrize("draw", [draw_noise, draw_breaths, draw_chords, draw_melody, draw_drums])
def test_drawn_sounds_are_of_unit_power_and_none_like_another(draw: object) -> None:
    assert callable(draw)
    wavs = [draw(np.random.default_rng(seed), 16_000, 16_000) for seed in range(4)]
    for wav in wavs:
        assert wav.shape == (16_000,)
        assert np.sqrt(np.mean(wav**2)) == pytest.approx(1, abs=1e-6)
    assert np.abs(np.corrcoef(wavs) - np.eye(4)).max() < 0.5


@pytest.mark.parametrize("wrong", [{"mixed": 1.1}, {"alone": -0.1}, {"snr_db": (10.0, 0.0)}])
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="noise: expected probabilities from 0 to 1 and a range of levels"):
        NoiseAugment(**wrong)  # type: ignore[arg-type]


def test_curves_are_resampled_over_the_same_time() -> None:
    times_s = (torch.arange(30) + 0.5) / 30
    curve = torch.stack([torch.sin(5 * times_s), times_s], dim=1)[None]
    assert resample(curve, 30) is curve
    for length in (12, 45):
        resampled = resample(curve, length)
        target_s = (torch.arange(length) + 0.5) / length
        assert resampled.shape == (1, length, 2)
        inside = slice(1, -1)
        torch.testing.assert_close(resampled[0, inside, 0], torch.sin(5 * target_s)[inside], atol=0.02, rtol=0)
        torch.testing.assert_close(resampled[0, inside, 1], target_s[inside], atol=1e-3, rtol=0)


def test_in_a_pause_there_is_neither_sound_nor_motion_and_the_rest_stays() -> None:
    mel, target = torch.zeros(6, 240, 80), torch.ones(6, 60, 3)
    quiet, still = add_pauses(mel, target, np.random.default_rng(0), share=0.5, floor_db=-100.0)
    assert torch.equal(mel, torch.zeros_like(mel))  # what was given is not touched
    assert torch.equal(target, torch.ones_like(target))
    paused = (quiet.amin(dim=(1, 2)) < -50).tolist()
    assert 0 < sum(paused) < len(paused)
    for sound, motion, pause in zip(quiet, still, paused, strict=True):
        silent = sound.view(60, 4, 80).amax(dim=(1, 2)) < -50
        assert bool(silent.any()) == pause
        assert (motion[~silent] == 1).all()
        resting = (motion == 0).all(dim=1)
        assert (silent[resting]).all()
        assert not pause or int(resting.sum()) == int(silent.sum()) - 4  # two frames to come to rest, two to leave it
