"""Pictures differ where the truth says so, at any size alike, and only where the mouth is."""

import cv2
import numpy as np
import pytest

from cals.data.corruption.bursts import Burst, draw_corruption, mark_frames
from cals.data.corruption.config import REFERENCE_PX, TESTING, VIDEO_KINDS, select_kinds
from cals.data.corruption.occluders import COUNT, load_occluder
from cals.data.corruption.pictures import MouthPlace, corrupt_frame, corrupt_pictures
from cals.errors import ConfigError
from cals.face.picture import ArrayPicture
from cals.types import U8

SMALLEST, LARGEST = 20 / REFERENCE_PX, 45 / REFERENCE_PX


def scene(frames: int, size: int, *, grey: bool = False, seed: int = 0) -> U8:
    """Pictures with edges everywhere, all alike but for noise."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(40, 215, (12, 12) if grey else (12, 12, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(blocks, (size, size), interpolation=cv2.INTER_NEAREST))
    return (picture + rng.integers(0, 20, (frames, *picture.shape))).astype(np.uint8)


def burst(kind: str, strength: float, seed: int = 5, start: int = 0, end: int = 4) -> Burst:
    return Burst(start=start, end=end, kind=kind, strength=strength, seed=seed)


def differs(one: U8, other: U8) -> list[bool]:
    return [bool((a != b).any()) for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("kind", VIDEO_KINDS)
@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("size", [48, 96])
def test_the_truth_is_where_pixels_differ(kind: str, grey: bool, size: int) -> None:
    clean = scene(30, size, grey=grey)
    kept = clean.copy()
    for seed in range(5):
        drawn = draw_corruption(np.random.default_rng(seed), 30, select_kinds(TESTING, (kind,)))
        found = corrupt_pictures(clean, drawn.video)
        assert found.dtype == np.uint8
        assert differs(clean, found) == drawn.truth["video"].tolist()
        assert np.array_equal(found, corrupt_pictures(clean, drawn.video))
    assert np.array_equal(clean, kept)


def shown(number_seed: int, strength: float, size: int, frame: int = 0) -> np.ndarray:
    """How much of each pixel an occluder hides: black and white ground tell it."""
    grounds = [np.full((frame + 1, size, size, 3), value, np.uint8) for value in (0, 255)]
    on = burst("patch", strength, number_seed, 0, frame + 1)
    dark, light = (corrupt_pictures(ground, [on])[frame].astype(float) for ground in grounds)
    return 1 - (light - dark).mean(axis=2) / 255


@pytest.mark.parametrize("strength", [SMALLEST, 0.35, LARGEST])
def test_patches_are_as_large_as_told_and_over_the_mouth(strength: float) -> None:
    for seed in range(12):
        alpha = shown(seed, strength, 96)
        assert np.sqrt(alpha.sum()) / 96 == pytest.approx(strength, rel=0.05 if strength < LARGEST else 0.1)
        rows, columns = (np.mgrid[0:96, 0:96] + 0.5) / 96
        away = [abs(float((alpha * at).sum() / alpha.sum()) - 0.5) for at in (rows, columns)]
        assert max(away) < 0.16
    assert max(shown(seed, strength, 96).max() for seed in range(5)) > 0.99  # nothing shines through


def test_an_occluder_drifts_a_little() -> None:
    middles = []
    for frame in (0, 6, 12, 18):
        alpha = shown(3, 0.3, 96, frame)
        middles.append([float((alpha * at).sum() / alpha.sum()) for at in np.mgrid[0:96, 0:96]])
    distances = np.abs(np.diff(middles, axis=0)).max(axis=1)
    assert (distances > 0.03).all()
    assert np.ptp(middles, axis=0).max() < 0.15 * 96


@pytest.mark.parametrize("seed", range(6))
def test_the_same_burst_is_the_same_occluder_at_any_size(seed: int) -> None:
    on = burst("patch", LARGEST, seed)
    small, large = (corrupt_pictures(np.full((4, px, px, 3), 128, np.uint8), [on])[3] for px in (48, 192))
    reduced = cv2.resize(large, (48, 48), interpolation=cv2.INTER_AREA)
    # the finest patterns are a pixel wide then, and out of step
    soft = [cv2.GaussianBlur(picture.astype(float), (0, 0), 1) - 128 for picture in (small, reduced)]
    assert np.abs(soft[1]).mean() > 2
    assert np.abs(soft[0] - soft[1]).mean() < 0.15 * np.abs(soft[1]).mean()


@pytest.mark.parametrize("kind", VIDEO_KINDS)
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_a_frame_is_corrupted_as_its_mouth_crop_is(kind: str, angle: float) -> None:
    strength = {"patch": LARGEST, "noise": 0.2, "blur": 0.08}[kind]
    frame = scene(1, 400, seed=2)[0]
    place = MouthPlace(220.0, 170.0, 144.0, angle)
    patch = corrupt_frame(ArrayPicture(frame), 3, burst(kind, strength), place)
    found = ArrayPicture(frame).apply_patch(patch)
    cos, sin = 1.5 * np.cos(angle), 1.5 * np.sin(angle)
    back = np.array([[cos, -sin, 220 - 48 * (cos - sin)], [sin, cos, 170 - 48 * (sin + cos)]])
    crops = [
        cv2.warpAffine(picture, back, (96, 96), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        for picture in (frame, found)
    ]
    alone = corrupt_pictures(np.stack([crops[0]] * 4), [burst(kind, strength)])[3]
    changes = [picture.astype(float) - crops[0] for picture in (crops[1], alone)]
    inner = np.s_[12:-12, 12:-12]  # at its rim a crop does not know what is around it
    sizes = [float(np.abs(change[inner]).mean()) for change in changes]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.35)
    away = np.hypot(*(np.mgrid[0:400, 0:400] - np.array([170, 220])[:, None, None]))
    if kind != "patch":
        assert np.array_equal(found[away > 0.83 * 144], frame[away > 0.83 * 144])
        assert (found != frame).any(axis=2)[away < 60].mean() > 0.9
    else:
        assert np.corrcoef(changes[0].ravel(), changes[1].ravel())[0, 1] > 0.8


def test_the_place_of_a_mouth_in_larger_crops_may_be_told() -> None:
    clean = scene(4, 128)
    mouth = MouthPlace(64.0, 88.0, 48.0)
    found = corrupt_pictures(clean, [burst("noise", 0.3, start=1, end=3)], mouth)
    assert differs(clean, found) == [False, True, True, False]
    assert np.array_equal(found[:, :55], clean[:, :55])
    outside = MouthPlace(-90.0, 40.0, 48.0)
    for kind, strength in (("patch", 0.3), ("noise", 0.3), ("blur", 0.1)):
        assert np.array_equal(corrupt_pictures(clean, [burst(kind, strength)], outside), clean)


@pytest.mark.parametrize("strength", [0.1, 0.2])
def test_noise_deviates_as_told(strength: float) -> None:
    grey = np.full((8, 96, 96, 3), 128, np.uint8)
    found = corrupt_pictures(grey, [burst("noise", strength, end=8)]).astype(float) - 128
    assert found.std() == pytest.approx(255 * strength, rel=0.03)
    assert np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1] == pytest.approx(0, abs=0.03)  # anew in every frame


def test_blur_is_as_wide_as_told() -> None:
    dot = np.zeros((1, 97, 97), np.uint8)
    dot[0, 48, 48] = 255
    dots = np.concatenate([dot] * 2)
    dots[1, 44:53, 44:53] = 255
    found = corrupt_pictures(dots, [burst("blur", 0.06, end=2)])[1].astype(float)
    at = np.arange(97) - 48.0
    spread = np.sqrt((found.sum(axis=0) * at**2).sum() / found.sum() - (9**2 - 1) / 12)
    assert spread == pytest.approx(0.06 * 97, rel=0.1)


def test_bursts_beyond_the_clip_are_refused() -> None:
    with pytest.raises(ConfigError, match="within 3 frames, found one up to 4"):
        corrupt_pictures(scene(3, 48), [burst("noise", 0.2)])


def test_occluders_are_of_many_kinds_and_clear_at_their_rims() -> None:
    pictures = set()
    for number in range(0, COUNT, 7):
        for px in (10, 60):
            occluder = load_occluder(number, px)
            picture = occluder.picture
            assert picture[[0, -1], :, 3].max() == 0
            assert picture[:, [0, -1], 3].max() == 0
            assert occluder.side * len(picture) >= 0.99 * px  # never enlarged
        pictures.add(picture.tobytes())
    assert len(pictures) == len(range(0, COUNT, 7))
    assert load_occluder(COUNT + 3, 50) is load_occluder(3, 50)


def test_marks_are_the_frames_within() -> None:
    bursts = (burst("noise", 0.1, start=1, end=3), burst("blur", 0.1, start=4, end=5))
    assert mark_frames(bursts, 6).tolist() == [False, True, True, False, True, False]
