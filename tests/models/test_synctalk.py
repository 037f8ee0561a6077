"""SyncTalkFace: only lower halves are stored, audio alone recalls them; and the interface of a lip model."""

from dataclasses import replace

import pytest
import torch

from cals.errors import ConfigError
from cals.models.factory import from_checkpoint, to_checkpoint
from cals.models.memory import LipMemory, MemoryConfig
from cals.models.synctalk import LipEncoder, MemoryOutput, RecallConfig, SyncTalkFace, SyncTalkFaceConfig
from cals.models.unet import UNetConfig
from cals.models.wav2lip import WindowConfig

RECALL = RecallConfig(memory=MemoryConfig(slots=6, width=16), width=2)
CONFIG = SyncTalkFaceConfig(
    window=WindowConfig(unit=16, width=4),
    recall=RECALL,
    decoder=UNetConfig(unit=16, width=4, widest=16, levels=3, block_px=2),
)
FRAMES = torch.tensor([[3, 4, 5, 6, 7], [10, 11, 12, 13, 14]])


@pytest.fixture
def model() -> SyncTalkFace:
    torch.manual_seed(0)
    return SyncTalkFace(CONFIG).eval()


@pytest.fixture
def batch() -> tuple[torch.Tensor, ...]:
    """Build mel, frame indices, reference and real crops."""
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand(2, 2, 5, 3, 128, 128, generator=generator)
    return -80 * torch.rand(2, 80, 80, generator=generator), FRAMES, pictures[0], pictures[1]


@torch.no_grad()
def test_a_lip_feature_sees_the_lower_halves_of_five_frames() -> None:
    torch.manual_seed(0)
    encoder = LipEncoder(64, 2, 8).eval()
    crops = torch.rand(1, 12, 3, 64, 64)
    features = encoder(crops)
    assert features.shape == (1, 12, 8)
    other = crops.clone()
    other[..., :32, :] = torch.rand(1, 12, 3, 32, 64)
    torch.testing.assert_close(encoder(other), features)
    other = crops.clone()
    other[:, 6, :, 32:] = 0
    changed = (encoder(other) - features).abs().amax(dim=-1)[0] > 1e-5
    assert changed.nonzero().flatten().tolist() == [4, 5, 6, 7, 8]
    still = crops[:, :1].expand(-1, 5, -1, -1, -1)
    torch.testing.assert_close(encoder(still[:, :1]), encoder(still)[:, 2:3])  # edges are replicated


@torch.no_grad()
def test_mouths_of_one_face_address_different_slots() -> None:
    torch.manual_seed(0)
    encoder, memory = LipEncoder(64, 4, 32).train(), LipMemory(MemoryConfig(slots=16, width=32))
    crops = torch.rand(1, 1, 3, 64, 64).repeat(1, 40, 1, 1, 1)
    crops[..., 44:52, 24:40] += 0.1 * torch.rand(1, 40, 1, 1, 1)  # lips that are a little lighter or darker
    slots = memory.address_by_lips(encoder(crops)).argmax(dim=-1)
    assert len(slots.unique()) >= 4


@torch.no_grad()
def test_units_come_from_sound_by_the_keys(model: SyncTalkFace, batch: tuple[torch.Tensor, ...]) -> None:
    assert model.memory is not None
    mel, frames, _, _ = batch
    units = model.predict_units(mel)
    assert units.shape == (2, 20, 16)
    audio = model.window(mel)
    recalled = torch.softmax(16 * torch.cosine_similarity(audio[..., None, :], model.memory.key, dim=-1), dim=-1)
    expected = model.join(torch.cat([audio, recalled @ model.memory.value], dim=-1))
    torch.testing.assert_close(units, expected)
    shown = model(*batch)
    torch.testing.assert_close(model(*batch, store=True).by_audio, shown)
    asked = units.gather(1, frames[..., None].expand(-1, -1, 16))
    torch.testing.assert_close(model.generate(asked, *batch[2:]), shown)


@torch.no_grad()
def test_both_generations_know_what_they_may(model: SyncTalkFace, batch: tuple[torch.Tensor, ...]) -> None:
    stored = model(*batch, store=True)
    assert isinstance(stored, MemoryOutput)
    mouths = batch[3].clone()
    mouths[..., 64:, :] = 0.5
    other = model(*batch[:3], mouths, store=True)
    torch.testing.assert_close(other.by_audio, stored.by_audio)  # as at inference, where no mouth is known
    torch.testing.assert_close(other.key_address, stored.key_address)
    assert float((other.by_lips - stored.by_lips).abs().max()) > 1e-4
    for address in (stored.value_address, stored.key_address):
        torch.testing.assert_close(address.sum(dim=-1), torch.ones(2, 5))
    assert model.memory is not None
    torch.testing.assert_close(stored.recalled, model.memory.recall(model.memory.address_by_lips(stored.lips)))


def test_what_is_joined_drops_out_in_training_only(model: SyncTalkFace, batch: tuple[torch.Tensor, ...]) -> None:
    with torch.no_grad():
        assert torch.equal(model.predict_units(batch[0]), model.predict_units(batch[0]))
        model.train()
        model.window.eval()
        assert not torch.equal(model.predict_units(batch[0]), model.predict_units(batch[0]))


@torch.no_grad()
def test_without_slots_zeros_are_recalled_and_nothing_is_stored(batch: tuple[torch.Tensor, ...]) -> None:
    torch.manual_seed(0)
    empty = replace(CONFIG, recall=replace(RECALL, memory=replace(RECALL.memory, slots=0)))
    model = SyncTalkFace(empty).eval()
    assert {name.split(".")[0] for name in model.state_dict()} == {"window", "decoder", "join"}
    audio = model.window(batch[0])
    torch.testing.assert_close(
        model.predict_units(batch[0]), model.join(torch.cat([audio, torch.zeros_like(audio)], dim=-1))
    )
    assert model(*batch).shape == batch[3].shape
    with pytest.raises(ConfigError, match="expected a memory to store in"):
        model(*batch, store=True)
    again = from_checkpoint(to_checkpoint(model))
    torch.testing.assert_close(again.predict_units(batch[0]), model.predict_units(batch[0]))


@torch.no_grad()
def test_it_is_saved_and_loaded_like_any_lip_model(model: SyncTalkFace, batch: tuple[torch.Tensor, ...]) -> None:
    checkpoint = to_checkpoint(model)
    assert checkpoint.kind == "synctalkface"
    again = from_checkpoint(checkpoint)
    assert isinstance(again, SyncTalkFace)
    assert again.config == CONFIG
    torch.testing.assert_close(again.predict_units(batch[0]), model.predict_units(batch[0]))


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="found 16 against 8"):
        replace(CONFIG, window=WindowConfig(unit=8, width=4), decoder=replace(CONFIG.decoder, unit=8))
    with pytest.raises(ConfigError, match="SyncTalkFaceConfig: expected parts of one mel .* found 8 against 16"):
        replace(CONFIG, window=WindowConfig(unit=8, width=4))
    with pytest.raises(ConfigError, match="multiple of 32 px, found 80"):
        replace(CONFIG, crop_px=80, decoder=replace(CONFIG.decoder, crop_px=80))
    for wrong in ({"dropout": 1.0}, {"width": 0}):
        with pytest.raises(ConfigError, match="recall: expected a positive width and a dropout"):
            RecallConfig(**wrong)  # type: ignore[arg-type]
