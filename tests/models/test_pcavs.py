"""PC-AVS: three codes without leaks between them, as far as possible, and the interface of a lip model."""

import copy
import dataclasses

import pytest
import torch

from cals.errors import ConfigError
from cals.features.mel import MelConfig
from cals.models.factory import from_checkpoint, to_checkpoint
from cals.models.lips import Faces, Gallery
from cals.models.pcavs import PCAVS, PCAVSConfig
from cals.models.sync import SyncConfig

CONFIG = PCAVSConfig(
    content=SyncConfig(width=4, embedding=16), identity=16, style=16, encoder_width=2, width=2, widest=16
)
POINTS = torch.rand(2, 468, 3)


@pytest.fixture
def model() -> PCAVS:
    torch.manual_seed(0)
    return PCAVS(CONFIG).eval()


def random_crops(seed: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 128, 128, generator=torch.Generator().manual_seed(seed))


def build_gallery(crops: torch.Tensor) -> Gallery:
    return Gallery(crops=crops, landmarks=POINTS, times_s=torch.tensor([1.0, 5.0]), observed_landmarks=POINTS)


def faces(crops: torch.Tensor) -> Faces:
    return Faces(crops=crops, landmarks=POINTS, times_s=torch.tensor([1.0, 5.0]))


@torch.no_grad()
def test_it_draws_from_all_three_codes(model: PCAVS) -> None:
    units, reference, posed = torch.randn(2, 16), random_crops(0), random_crops(1)
    drawn = model.render(units, faces(posed), build_gallery(reference))
    assert drawn.shape == (2, 3, 128, 128)
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    others = {
        "content": model.render(torch.randn(2, 16), faces(posed), build_gallery(reference)),
        "pose": model.render(units, faces(random_crops(2)), build_gallery(reference)),
        "identity": model.render(units, faces(posed), build_gallery(random_crops(3))),
    }
    for name, other in others.items():
        assert float((other - drawn).abs().max()) > 1e-4, name
    assert model.pose(posed).shape == (2, 12)


def test_an_image_that_leaves_the_range_comes_back(model: PCAVS) -> None:
    """As white as it can be: training shows by how much, and its gradient is not smaller for it."""
    gradients = []
    for gain in (1.0, 1000.0):
        generator = copy.deepcopy(model.generator).train()
        with torch.no_grad():
            generator.blocks[-1].paint.weight.mul_(gain)
        codes = [torch.randn(2, size, generator=torch.Generator().manual_seed(size)) for size in (16, 12, 16)]
        image = generator(*codes)
        (image - 0.5).abs().mean().backward()
        gradients.append(float(generator.constant.grad.abs().mean()))
    assert float(image.detach().abs().max()) > 10
    assert float(generator.eval()(*codes).detach().max()) == 1
    assert gradients[1] > gradients[0] > 0


@torch.no_grad()
def test_a_face_takes_another_ones_reference_and_no_mouth_of_its_own(model: PCAVS) -> None:
    units, reference, posed = torch.randn(2, 16), random_crops(0), random_crops(1)
    drawn = model.render(units, faces(posed), build_gallery(reference))
    changed = reference.clone()
    changed[0] = random_crops(4)[0]  # the first face's own time: it takes the second
    again = model.render(units, faces(posed), build_gallery(changed))
    torch.testing.assert_close(again[0], drawn[0])
    assert float((again[1] - drawn[1]).abs().max()) > 1e-4
    below = posed.clone()
    below[:, :, 64:] = 0.5
    torch.testing.assert_close(model.render(units, faces(below), build_gallery(reference)), drawn)
    published = PCAVS(dataclasses.replace(CONFIG, pose_mask=False)).eval()
    published.load_state_dict(model.state_dict())
    whole, masked = (published.render(units, faces(crops), build_gallery(reference)) for crops in (posed, below))
    assert float((whole - masked).abs().max()) > 1e-4


@torch.no_grad()
def test_heard_and_seen_content_are_the_encoders(model: PCAVS) -> None:
    generator = torch.Generator().manual_seed(5)
    windows, sound = (
        torch.rand(2, 5, 3, 128, 128, generator=generator),
        -80 * torch.rand(2, 20, 80, generator=generator),
    )
    drawn, heard, read = model(sound, windows, torch.tensor([True, False]), random_crops(0), random_crops(1))
    expected_read, expected_heard = model.content(windows[..., 64:, :], sound)
    torch.testing.assert_close(heard, expected_heard)
    torch.testing.assert_close(read, expected_read)
    content = torch.stack([read[0], heard[1]])
    torch.testing.assert_close(drawn, model.generate(content, model.identity(random_crops(0)), random_crops(1)))


@torch.no_grad()
def test_larger_crops_are_read_at_the_content_encoders_size() -> None:
    torch.manual_seed(0)
    model = PCAVS(dataclasses.replace(CONFIG, crop_px=224)).eval()
    drawn, heard, read = model(
        torch.rand(1, 20, 80) - 40, torch.rand(1, 5, 3, 224, 224), torch.tensor([True]), *torch.rand(2, 1, 3, 224, 224)
    )
    assert (drawn.shape, heard.shape, read.shape) == ((1, 3, 224, 224), (1, 16), (1, 16))


@torch.no_grad()
def test_it_is_saved_and_loaded_like_any_lip_model(model: PCAVS) -> None:
    checkpoint = to_checkpoint(model)
    assert checkpoint.kind == "pcavs"
    again = from_checkpoint(checkpoint)
    mel = -80 * torch.rand(1, 40, 80)
    assert model.predict_units(mel).shape == (1, 10, 16)
    torch.testing.assert_close(again.predict_units(mel), model.predict_units(mel))
    units = torch.randn(2, 16)
    drawn = model.render(units, faces(random_crops(1)), build_gallery(random_crops(0)))
    torch.testing.assert_close(again.render(units, faces(random_crops(1)), build_gallery(random_crops(0))), drawn)


@pytest.mark.parametrize(
    "wrong", [{"crop_px": 144}, {"pose": 0}, {"levels": 7, "crop_px": 64}, {"mel": MelConfig(bins=40)}]
)
def test_configs_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="pcavs: expected"):
        dataclasses.replace(CONFIG, **wrong)  # type: ignore[arg-type]
