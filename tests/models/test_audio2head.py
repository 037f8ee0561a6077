"""Audio2Head: static keypoints leave pixels in place, motion warps them, and heads start at the image's pose."""

import dataclasses

import pytest
import torch

import drawn_face
from cals.errors import ConfigError
from cals.features.mel import MelConfig
from cals.models.audio2head import KEYPOINTS, Audio2Head, Audio2HeadConfig
from cals.models.dense_motion import DenseMotion, DenseMotionConfig, WarpingGenerator, blend, warp_features
from cals.models.factory import from_checkpoint, to_checkpoint
from cals.models.head import apply_head_pose, estimate_head_pose, remove_head_pose
from cals.models.lips import Faces, Gallery
from cals.models.sync import SyncConfig
from cals.nn.warp import build_pixel_centres

CONFIG = Audio2HeadConfig(content=SyncConfig(width=4, embedding=16), lstm=8, layers=2, hidden=16, width=4, blocks=1)
SMALL = DenseMotionConfig(keypoints=3, unit=16, width=4, blocks=1)
HERE = 4 * build_pixel_centres(32, 32, torch.device("cpu"))


@pytest.fixture
def model() -> Audio2Head:
    torch.manual_seed(0)
    return Audio2Head(CONFIG).eval()


def random_crops(seed: int, count: int = 1) -> torch.Tensor:
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(128, 128), mode="bicubic").clamp(0, 1)


def points(open_px: float = 2.0) -> torch.Tensor:
    return torch.from_numpy(drawn_face.points(open_px))[None]


@torch.no_grad()
def test_keypoints_that_do_not_move_leave_every_pixel_where_it_is() -> None:
    torch.manual_seed(0)
    motion, keypoints = DenseMotion(SMALL).eval(), 128 * torch.rand(2, 3, 2)
    torch.nn.init.normal_(motion.head.weight)
    places, trust = motion(random_crops(0, 2), keypoints, keypoints)
    torch.testing.assert_close(places, HERE.expand(2, -1, -1, -1))
    assert trust.shape == (2, 1, 32, 32)
    picture = random_crops(1, 2)
    torch.testing.assert_close(warp_features(picture, places), picture, atol=1e-5, rtol=0)


@torch.no_grad()
def test_around_a_keypoint_pixels_move_with_it() -> None:
    torch.manual_seed(0)
    motion = DenseMotion(SMALL).eval()
    torch.nn.init.zeros_(motion.head.weight)
    torch.nn.init.zeros_(motion.head.bias)
    before = torch.tensor([[[30.0, 30.0], [90.0, 40.0], [64.0, 100.0]]])
    after = before + torch.tensor([[[6.0, 0.0], [0.0, 0.0], [0.0, -4.0]]])
    shift = motion(random_crops(0), before, after)[0][0] - HERE
    moved = shift[7, 8]  # the cell at (34, 30)
    assert -6 <= float(moved[0]) < -5
    assert abs(float(moved[1])) < 0.2
    assert float(shift[23, 15, 1]) > 3  # at (62, 94), where the third one is now
    assert float(shift[30, 1].abs().max()) < 0.8  # the corner stays, nearly
    mark = torch.zeros(1, 1, 128, 128)
    mark[..., 28:33, 28:33] = 1
    shown_at = warp_features(mark, (HERE + shift)[None])[0, 0]
    centre = (shown_at[..., None] * build_pixel_centres(128, 128, torch.device("cpu"))).sum((0, 1)) / shown_at.sum()
    assert float(centre[0]) == pytest.approx(30.5 + 5.5, abs=1)
    assert float(centre[1]) == pytest.approx(30.5, abs=0.5)


def test_what_is_trusted_is_warped_and_the_rest_is_drawn() -> None:
    warped, drawn = random_crops(0), random_crops(1)
    torch.testing.assert_close(blend(warped, drawn, torch.ones(1, 1, 32, 32)), warped)
    torch.testing.assert_close(blend(warped, drawn, torch.zeros(1, 1, 32, 32)), drawn)
    half = torch.ones(1, 1, 32, 32)
    half[..., :16] = 0
    both = blend(warped, drawn, half)
    torch.testing.assert_close(both[..., :62], drawn[..., :62])
    torch.testing.assert_close(both[..., 66:], warped[..., 66:])
    torch.manual_seed(0)
    generator = WarpingGenerator(SMALL).eval()
    with torch.no_grad():
        kept = generator(warped, HERE[None], torch.ones(1, 1, 32, 32), torch.randn(1, 16))
    torch.testing.assert_close(kept, warped, atol=1e-5, rtol=0)


@torch.no_grad()
def test_without_speech_and_turn_the_keypoints_are_the_references(model: Audio2Head) -> None:
    landmarks = points()
    before, after = model.move_keypoints(torch.randn(1, 16), landmarks, estimate_head_pose(landmarks, 128))
    torch.testing.assert_close(before, landmarks[:, list(KEYPOINTS), :2])
    torch.testing.assert_close(after, before, atol=1e-3, rtol=0)
    torch.nn.init.normal_(model.speech.head.weight)
    _, speaking = model.move_keypoints(torch.randn(1, 16), landmarks, estimate_head_pose(landmarks, 128))
    assert float((speaking - before).abs().max()) > 1


@torch.no_grad()
def test_a_turned_head_moves_its_keypoints_as_the_mesh_does(model: Audio2Head) -> None:
    pose = estimate_head_pose(points(), 128)
    pose[:, 0] += 0.2
    turned = apply_head_pose(remove_head_pose(points(), 128), pose, 128)
    known = Gallery(crops=random_crops(0), landmarks=points(), times_s=torch.tensor([0.0]), observed_landmarks=points())
    faces = Faces(crops=random_crops(0), landmarks=turned, times_s=torch.tensor([torch.inf]))
    units = torch.randn(1, 96)
    expected, keypoints = model.generate(units, random_crops(0), points(), pose)
    torch.testing.assert_close(keypoints, turned[:, list(KEYPOINTS), :2], atol=1e-2, rtol=0)
    torch.testing.assert_close(model.render(units, faces, known), expected, atol=1e-3, rtol=0)
    still = model.generate(units, random_crops(0), points(), estimate_head_pose(points(), 128))[0]
    assert float((still - expected).abs().max()) > 0.05


@torch.no_grad()
def test_heads_move_from_the_pictures_own_pose_and_in_parts_as_at_once(model: Audio2Head) -> None:
    model.head.spread.copy_(torch.tensor([0.1, 0.1, 0.01, 0.001, 0.001, 0.01]))
    units, start = model.predict_units(-80 * torch.rand(1, 80, 80)), torch.tensor([[0.3, -0.1, 0.0, 0.5, 0.3, 0.0]])
    assert units.shape == (1, 20, 96)
    poses, _ = model.predict_poses(units, start)
    first, state = model.predict_poses(units[:, :7], start)
    second, _ = model.predict_poses(units[:, 7:], start, state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), poses)
    other, _ = model.predict_poses(units, -start)
    away = poses - start
    assert float((away / model.head.spread).abs().max()) < 3  # near to where it started
    assert float(away[..., 0].std()) > 0
    assert float(((other + start) - away).abs().max()) > 1e-4  # and not the same way from everywhere


@torch.no_grad()
def test_it_is_saved_and_loaded_like_any_lip_model(model: Audio2Head) -> None:
    model.head.spread.fill_(0.25)
    checkpoint = to_checkpoint(model)
    assert checkpoint.kind == "audio2head"
    again = from_checkpoint(checkpoint)
    assert isinstance(again, Audio2Head)
    assert float(again.head.spread.mean()) == 0.25
    mel, pose = -80 * torch.rand(1, 4, 80), estimate_head_pose(points(), 128)
    units = model.predict_units(mel)
    torch.testing.assert_close(again.predict_units(mel), units)
    torch.testing.assert_close(
        again.generate(units[0], random_crops(0), points(), pose)[0],
        model.generate(units[0], random_crops(0), points(), pose)[0],
    )


@pytest.mark.parametrize("wrong", [{"crop_px": 136}, {"layers": 0}, {"width": 0}, {"mel": MelConfig(bins=40)}])
def test_configs_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        dataclasses.replace(CONFIG, **wrong)  # type: ignore[arg-type]
