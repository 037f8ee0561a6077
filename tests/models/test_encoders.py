import pytest
import torch

from cals.errors import ConfigError
from cals.models.a2l import A2L, A2LConfig
from cals.models.sync import SyncConfig, SyncModel

SMALL = SyncConfig(width=4, embedding=8)
TINY = A2LConfig(unit=8, channels=(4, 4), width=16, layers=1, heads=2, hidden=16)


def test_embeddings_are_unit_vectors_of_one_space() -> None:
    model = SyncModel(SMALL).eval()
    visual, audio = model(torch.rand(3, 5, 3, 64, 128), torch.randn(3, 20, 80) * 10 - 50)
    assert visual.shape == audio.shape == (3, 8)
    torch.testing.assert_close(visual.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(audio.norm(dim=1), torch.ones(3))


def test_every_frame_equals_its_own_window() -> None:
    model = SyncModel(SMALL).eval()
    crops, mel = torch.rand(1, 9, 3, 64, 128), torch.randn(1, 36, 80) * 10 - 50
    visual, audio = model.visual.encode_frames(crops), model.audio.encode_frames(mel)
    assert visual.shape == audio.shape == (1, 9, 8)
    torch.testing.assert_close(visual[0, 4], model.visual(crops[:, 2:7])[0])
    torch.testing.assert_close(audio[0, 4], model.audio(mel[:, 8:28])[0])
    edge = torch.cat([crops[:, :1], crops[:, :1], crops[:, :3]], dim=1)
    torch.testing.assert_close(visual[0, 0], model.visual(edge)[0])


def test_hidden_steps_are_not_heard_through_any_convolution() -> None:
    torch.manual_seed(0)
    model = A2L(TINY).eval()
    hidden = torch.zeros(1, 12, dtype=torch.bool)
    hidden[0, 4:8] = True
    mel = torch.randn(1, 48, 80) * 10 - 50
    other = mel.clone()
    other[:, 16:32] += 30
    torch.testing.assert_close(model(mel, hidden), model(other, hidden))
    assert float((model(mel) - model(other)).detach().abs().max()) > 1e-3


def test_units_come_one_a_video_frame() -> None:
    model = A2L(TINY).eval()
    for frames in (1, 7, 100):
        assert model(torch.zeros(2, 4 * frames, 80)).shape == (2, frames, 8)


def test_configs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="odd number"):
        SyncConfig(frames=4)
    with pytest.raises(ConfigError, match="even width"):
        A2LConfig(width=24, heads=8)
