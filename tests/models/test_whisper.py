"""The frozen front-end: external weights, invariance to loudness, and masked audio without influence."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cals import hub
from cals.checkpoint import config_from_dict, load_checkpoint
from cals.errors import CheckpointError, ConfigError
from cals.models.a2l import A2L, A2LConfig, WhisperFrontEnd
from cals.models.factory import load_front_end
from cals.models.whisper import KIND, WhisperConfig, WhisperEncoder, list_weight_shapes, normalize_level
from front_end import HEARING, SMALL, save_front

STILL = dataclasses.replace(HEARING, dropout=0.0)


def random_weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in list_weight_shapes(SMALL).items()}


def build_a2l() -> A2L:
    """Build Audio-to-Lip and its front-end with random weights."""
    torch.manual_seed(0)
    model = A2L(STILL).eval()
    torch.nn.init.normal_(model.front.hidden_step)
    front = model.front
    assert isinstance(front, WhisperFrontEnd)
    front.encoder.load_weights(random_weights())
    return model


def build_mel(frames: int = 30, seed: int = 0) -> Tensor:
    """Build a log-mel [1 m f] in dB that rises and falls."""
    generator = torch.Generator().manual_seed(seed)
    return -30 + 8 * torch.randn(1, 4 * frames, 80, generator=generator)


def test_an_encoder_without_weights_refuses_to_hear() -> None:
    encoder = WhisperEncoder(SMALL)
    with pytest.raises(CheckpointError, match="expected weights before use, found none"):
        encoder(build_mel())
    encoder.load_weights(random_weights())
    assert encoder(build_mel()).shape == (1, 60, SMALL.width)


@pytest.mark.parametrize("name", ["positions", "0_qkv_weight"])
def test_weights_that_are_missing_or_of_another_shape_are_refused(name: str) -> None:
    weights = random_weights()
    weights[name] = weights[name][:-1]
    with pytest.raises(CheckpointError, match=rf"whisper: expected {name} of .* found \[\d+"):
        WhisperEncoder(SMALL).load_weights(weights)
    del weights[name]
    with pytest.raises(CheckpointError, match=rf"whisper: expected {name} of .* found none"):
        WhisperEncoder(SMALL).load_weights(weights)


def test_how_loud_a_recording_is_does_not_matter() -> None:
    loud = build_mel()
    torch.testing.assert_close(normalize_level(loud - 40), normalize_level(loud))
    torch.testing.assert_close(normalize_level(loud + 20), normalize_level(loud))


def test_within_a_recording_loud_stays_loud() -> None:
    mel = build_mel()
    mel[:, :40] -= 30
    features = normalize_level(mel)
    assert float(features[:, 60:].mean() - features[:, :40].mean()) == pytest.approx(30 / 10 / 4, abs=0.05)
    click = mel.clone()
    click[:, 70] += 40  # sets no level
    torch.testing.assert_close(normalize_level(click)[:, :60], features[:, :60], atol=0.05, rtol=0)


def test_digital_silence_is_not_raised_to_speech() -> None:
    silence = normalize_level(torch.full((1, 40, 80), -100.0))
    assert float(silence.max()) < 0.3 * float(normalize_level(build_mel()).max())


def test_checkpoints_hold_no_weights_of_the_front_end(tmp_path: Path) -> None:
    front = load_checkpoint(save_front(tmp_path / "front"))
    torch.manual_seed(0)
    model, other = A2L(STILL).eval(), A2L(STILL).eval()
    held = model.state_dict()
    assert not any("encoder" in name for name in held)
    assert {"front.mean", "front.join.weight", "front.hidden_step"} <= held.keys()
    assert not any("encoder" in name for name, _ in model.named_parameters())
    other.load_state_dict(held)
    load_front_end(model, front, "abc", {})
    load_front_end(other, front, "abc", {"front": "abc"})
    assert torch.equal(other(build_mel()), model(build_mel()))


def test_another_front_end_is_refused(tmp_path: Path) -> None:
    front, model = load_checkpoint(save_front(tmp_path / "front")), A2L(STILL)
    with pytest.raises(CheckpointError, match="expected a 'whisper' checkpoint, found a 'mesh' one"):
        load_front_end(model, dataclasses.replace(front, kind="mesh"), "abc", {})
    with pytest.raises(CheckpointError, match="front-end: expected .*layers=1.* found .*layers=4"):
        load_front_end(model, dataclasses.replace(front, config=front.config | {"layers": 4}), "abc", {})
    with pytest.raises(ConfigError, match="expected 64 mel bins for Whisper, found 80"):
        A2LConfig(whisper=dataclasses.replace(SMALL, bins=64))


@torch.no_grad()
def test_what_is_hidden_is_not_heard() -> None:
    model = build_a2l()
    hidden = torch.zeros(1, 30, dtype=torch.bool)
    hidden[0, 10:16] = True
    mel = build_mel()
    other = mel.clone()
    other[:, 40:64] = build_mel(6, seed=1) + 10
    assert torch.equal(model(mel, hidden), model(other, hidden))
    assert float((model(mel) - model(other)).abs().max()) > 1e-3
    beside = mel.clone()
    beside[:, 36:40] = build_mel(1, seed=1) + 10
    assert not torch.equal(model(mel, hidden), model(beside, hidden))


@torch.no_grad()
def test_hidden_steps_are_a_learned_vector() -> None:
    model = build_a2l()
    hidden = torch.zeros(1, 30, dtype=torch.bool)
    hidden[0, 10:16] = True
    before = model(build_mel(), hidden)
    model.front.hidden_step.add_(1.0)
    assert float((model(build_mel(), hidden) - before)[0, 12].abs().max()) > 1e-3
    assert torch.equal(model(build_mel(), torch.zeros_like(hidden)), model(build_mel()))


def test_features_are_standardized_over_the_training_set() -> None:
    front = build_a2l().front
    assert isinstance(front, WhisperFrontEnd)
    mels = [build_mel(20, seed)[0] for seed in range(5)]
    front.fit_statistics(mels)
    features = torch.cat([(front._features(mel[None])[0] - front.mean) / front.std for mel in mels])
    width = 2 * SMALL.width
    assert features.shape == (100, width)
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(width), atol=1e-3, rtol=0)
    torch.testing.assert_close(features.std(dim=0), torch.ones(width), atol=1e-2, rtol=0)


def test_what_hears_with_it_learns_and_it_does_not() -> None:
    model = build_a2l()
    model(build_mel()).square().mean().backward()  # type: ignore[no-untyped-call]
    front = model.front
    assert isinstance(front, WhisperFrontEnd)
    assert front.join.weight.grad is not None
    assert float(front.join.weight.grad.abs().max()) > 0
    assert not any(value.requires_grad for value in front.encoder.buffers())


def test_the_front_end_that_ships_is_whole() -> None:
    checkpoint = load_checkpoint(hub.FRONT_END_WEIGHTS)
    config = config_from_dict(WhisperConfig, checkpoint.config)
    assert (checkpoint.kind, config) == (KIND, WhisperConfig())
    encoder = WhisperEncoder(config)
    encoder.load_weights(checkpoint.weights)
    one, other = encoder(torch.cat([build_mel(25, 0), build_mel(25, 1)]))
    assert one.shape == (50, 384)
    assert bool(torch.isfinite(one).all())
    assert float((one - other).std()) > 0.1
