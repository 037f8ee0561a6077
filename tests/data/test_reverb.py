import numpy as np
import pytest
import torch

from cals.data.rooms import RoomAugment, apply_room
from cals.errors import ConfigError
from cals.features.mel import MelConfig

FEATURES = MelConfig()


def clap(frames: int = 120) -> torch.Tensor:
    mel = torch.full((frames, 80), FEATURES.floor_db)
    mel[20] = 0.0
    return mel


def test_an_echo_follows_the_sound_and_dies_away() -> None:
    config = RoomAugment(reverb=1.0, decay_s=(0.5, 0.5), direct_db=(6.0, 6.0), drift=0.0)
    out = apply_room(clap(), np.random.default_rng(0), config, FEATURES)
    torch.testing.assert_close(out[:20], clap()[:20], atol=1.0, rtol=0)  # only the floor's own echo before it
    torch.testing.assert_close(out[20], clap()[20])
    assert (out[21:60, 0].diff() < 0).all()
    assert float(out[21, 0] - out[46, 0]) == pytest.approx(30, abs=0.5)  # half of 0.5 s, half of 60 dB
    assert float(out[21, 79] - out[46, 79]) == pytest.approx(60, abs=0.5)
    echo = float((10 ** (out[21:, 0] / 10)).sum())
    assert 10 * np.log10(echo) == pytest.approx(-6, abs=0.1)


def test_a_drift_is_slow_and_bounded() -> None:
    flat = torch.full((300, 80), -40.0)
    out = apply_room(flat, np.random.default_rng(1), RoomAugment(reverb=0.0, drift=1.0, drift_db=6.0), FEATURES)
    assert float((out - flat).abs().max()) <= 6.001
    assert float(out.diff(dim=0).abs().max()) < 12 / 70 + 0.01
    assert float(out.std()) > 0.5
    assert out.dtype == torch.float32


def test_rooms_are_seeded_and_may_be_none() -> None:
    mel = torch.rand(100, 80) * 40 - 60
    config = RoomAugment(reverb=1.0, drift=1.0)
    one, same, other = (apply_room(mel, np.random.default_rng(seed), config, FEATURES) for seed in (1, 1, 2))
    torch.testing.assert_close(one, same, rtol=0, atol=0)
    assert not torch.equal(one, other)
    torch.testing.assert_close(apply_room(mel, np.random.default_rng(0), RoomAugment(reverb=0, drift=0), FEATURES), mel)
    with pytest.raises(ConfigError, match="decay_s"):
        RoomAugment(decay_s=(0.0, 0.1))
    with pytest.raises(ConfigError, match="drift_s"):
        RoomAugment(drift_s=0.0)
