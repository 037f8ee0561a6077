"""Wav2Lip: a frame depends on 0.2 s of audio alone, unlike Audio-to-Lip; and the interface of a lip model."""

import pytest
import torch

from cals.errors import ConfigError
from cals.features.mel import MelConfig
from cals.models.a2l import A2L, A2LConfig
from cals.models.factory import from_checkpoint, to_checkpoint
from cals.models.lips import Faces, Gallery
from cals.models.unet import UNetConfig
from cals.models.wav2lip import Wav2Lip, Wav2LipConfig, WindowConfig

WINDOW = WindowConfig(unit=16, width=4)
CONFIG = Wav2LipConfig(window=WINDOW, decoder=UNetConfig(unit=16, width=4, widest=16, levels=3, block_px=2))
FRAMES, FRAME = 30, 12


@pytest.fixture
def model() -> Wav2Lip:
    torch.manual_seed(0)
    return Wav2Lip(CONFIG).eval()


@pytest.fixture
def mel() -> torch.Tensor:
    return -80 * torch.rand(1, 4 * FRAMES, 80, generator=torch.Generator().manual_seed(1))


def own_mel(frame: int) -> slice:
    """Return the mel frames of a frame's 0.2 s."""
    return slice(4 * (frame - 2), 4 * (frame + 3))


def test_a_unit_hears_its_own_window_alone_and_a2l_hears_all(model: Wav2Lip, mel: torch.Tensor) -> None:
    assert own_mel(FRAME).stop - own_mel(FRAME).start == 20
    elsewhere = torch.full_like(mel, -33.0)
    elsewhere[:, own_mel(FRAME)] = mel[:, own_mel(FRAME)]
    torch.manual_seed(0)
    a2l = A2L(A2LConfig(unit=16, channels=(4, 8), width=16, layers=1, heads=2, hidden=32)).eval()
    with torch.no_grad():
        changes = (model.predict_units(elsewhere) - model.predict_units(mel)).abs().amax(dim=-1)[0]
        a2l_change = float((a2l(elsewhere) - a2l(mel)).abs()[0, FRAME].max())
    assert float(changes[FRAME]) == pytest.approx(0, abs=1e-6)
    assert float(changes[[FRAME - 1, FRAME + 1]].min()) > 1e-4
    assert a2l_change > 1e-2


@pytest.mark.parametrize("place", [own_mel(FRAME).start, own_mel(FRAME).stop - 1])
def test_it_hears_its_window_to_both_ends(model: Wav2Lip, mel: torch.Tensor, place: int) -> None:
    louder = mel.clone()
    louder[:, place] += 40
    with torch.no_grad():
        changed = (model.predict_units(louder) - model.predict_units(mel)).abs().amax(dim=-1)[0] > 1e-5
    expected = [frame for frame in range(FRAMES) if own_mel(frame).start <= place < own_mel(frame).stop]
    assert FRAME in expected
    assert changed.nonzero().flatten().tolist() == expected


def test_windows_that_are_asked_for_are_those_of_the_whole(model: Wav2Lip, mel: torch.Tensor) -> None:
    frames = torch.tensor([[0, 7, FRAMES - 1], [3, 4, 5]])
    sounds = torch.cat([mel, mel.flip(1)])
    with torch.no_grad():
        every, asked = model.predict_units(sounds), model.window(sounds, frames)
    torch.testing.assert_close(asked, torch.stack([every[row, which] for row, which in enumerate(frames)]))
    torch.testing.assert_close(asked.norm(dim=-1), torch.ones(2, 3))


def test_it_draws_with_a_reference_that_is_not_the_frames_own(model: Wav2Lip) -> None:
    crops, points = torch.rand(2, 3, 128, 128), torch.rand(2, 468, 3)
    faces = Faces(crops=crops, landmarks=points, times_s=torch.tensor([1.0, 5.0]))
    known = Gallery(crops=crops.flip(0), landmarks=points, times_s=torch.tensor([1.0, 5.0]), observed_landmarks=points)
    units = torch.rand(2, 16)
    with torch.no_grad():
        drawn = model.render(units, faces, known)
        below = crops.clone()
        below[:, :, 64:] = 0.5
        unseen = model.render(units, Faces(crops=below, landmarks=points, times_s=faces.times_s), known)
        other = Gallery(
            crops=torch.rand(2, 3, 128, 128), landmarks=points, times_s=known.times_s, observed_landmarks=points
        )
        moved = model.render(units, faces, other)
    assert drawn.shape == (2, 3, 128, 128)
    torch.testing.assert_close(unseen, drawn)  # its own mouth does not shine through
    assert float((moved - drawn).abs().max()) > 1e-3


def test_it_is_saved_and_loaded_like_any_lip_model(model: Wav2Lip, mel: torch.Tensor) -> None:
    checkpoint = to_checkpoint(model)
    assert checkpoint.kind == "wav2lip"
    again = from_checkpoint(checkpoint)
    assert isinstance(again, Wav2Lip)
    with torch.no_grad():
        torch.testing.assert_close(again.predict_units(mel), model.predict_units(mel))


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="found 8 against 16"):
        Wav2LipConfig(window=WindowConfig(unit=8), decoder=CONFIG.decoder)
    with pytest.raises(ConfigError, match="one mel"):
        Wav2LipConfig(window=WINDOW, decoder=CONFIG.decoder, mel=MelConfig(bins=40))
    with pytest.raises(ConfigError, match="found 64 and 128"):
        Wav2LipConfig(window=WINDOW, decoder=CONFIG.decoder, crop_px=64)
    with pytest.raises(ConfigError, match="odd number of frames"):
        WindowConfig(frames=4)
