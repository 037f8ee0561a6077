"""Every measure of a clip whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from cals.evaluation.drives import AlignedFaces
from cals.evaluation.scores import EQUAL_DB, ClipOutputs, build_lip_mask, score_clip
from cals.face.landmarks import MOUTH_INNER, MOUTH_OUTER

FRAMES = 40
TIME = np.arange(FRAMES) * 2 * np.pi / FRAMES


def seen(opening_px: np.ndarray) -> AlignedFaces:
    """A mouth about (64, 90) whose lips are so far apart, drawn as a dark box on noise, which moves with it."""
    landmarks = np.zeros((FRAMES, 468, 2))
    landmarks[:, [33, 133]], landmarks[:, [362, 263]] = (44.0, 34.0), (84.0, 34.0)
    crops = np.random.default_rng(1).integers(80, 180, (FRAMES, 128, 128, 3)).astype(np.uint8)
    turn = np.arange(20) * 2 * np.pi / 20 + np.pi  # clockwise from the left corner
    for i, gap in enumerate(opening_px):
        for ring, wide, high in ((MOUTH_OUTER, 20, 8 + gap / 2), (MOUTH_INNER, 14, gap / 2)):
            landmarks[i, list(ring), 0] = 64 + wide * np.cos(turn)
            landmarks[i, list(ring), 1] = 90 + high * np.sin(turn)
        crops[i, 90 - round(gap / 2) : 90 + round(gap / 2), 54:74] = 10
    return AlignedFaces(crops, landmarks, np.ones(FRAMES, bool))


OWN, OTHER = 10 + 6 * np.sin(TIME), 10 + 6 * np.cos(TIME)  # of correlation 0
REAL, MEANT = seen(OWN), seen(OTHER)
LOUD = np.zeros(FRAMES, bool)


def test_a_perfect_model_is_perfect_and_its_baselines_are_not() -> None:
    result = score_clip(
        ClipOutputs(real=REAL, self_driven=REAL, cross_driven=MEANT, target=MEANT, copy=seen(OWN * 0 + 10), silent=LOUD)
    )
    assert list(result) == ["self", "cross", "shuffled", "copy"]
    whole = {"psnr": EQUAL_DB, "ssim": 1, "psnr_lower": EQUAL_DB, "ssim_lower": 1, "psnr_lips": EQUAL_DB}
    assert result["self"] == pytest.approx({"opening": 1, "width": 0, "span": 1, "lmd": 0, "sharpness": 1} | whole)
    assert result["cross"] == pytest.approx({"opening": 1, "width": 0, "span": 1, "lmd": 0, "leak": 0}, abs=1e-9)
    assert result["shuffled"]["opening"] == pytest.approx(0, abs=1e-9)
    assert result["shuffled"]["lmd"] > 1
    assert result["shuffled"]["psnr_lips"] < result["shuffled"]["psnr"] < EQUAL_DB
    assert result["copy"]["opening"] == result["copy"]["span"] == 0


def test_a_mouth_that_goes_on_as_before_leaks_all_of_it() -> None:
    result = score_clip(
        ClipOutputs(real=REAL, self_driven=REAL, cross_driven=REAL, target=MEANT, copy=REAL, silent=LOUD)
    )
    assert result["cross"]["leak"] == pytest.approx(1)
    assert result["cross"]["opening"] == pytest.approx(0, abs=1e-9)


def test_half_the_motion_and_a_flat_picture() -> None:
    timid = seen((OWN + 10) / 2)
    flat = replace(timid, crops=np.full_like(timid.crops, 128))
    result = score_clip(
        ClipOutputs(real=REAL, self_driven=flat, cross_driven=flat, target=MEANT, copy=REAL, silent=LOUD)
    )["self"]
    assert result["span"] == pytest.approx(0.5)
    assert result["opening"] == pytest.approx(1)
    assert result["sharpness"] == 0


def test_a_mouth_open_in_silence_is_noticed() -> None:
    silent = np.arange(FRAMES) < 8
    drives = ClipOutputs(real=REAL, self_driven=seen(OWN + 4), cross_driven=REAL, target=REAL, copy=REAL, silent=silent)
    assert score_clip(drives)["self"]["silence"] == pytest.approx(0.1 * (1 + 2 * np.cos(np.pi / 5)) / 3)


def test_frames_without_a_face_anywhere_count_for_nobody() -> None:
    broken = seen(OWN)
    broken.valid[7] = False
    broken.landmarks[7], broken.crops[7] = np.nan, 0
    drives = ClipOutputs(real=REAL, self_driven=REAL, cross_driven=MEANT, target=MEANT, copy=broken, silent=LOUD)
    assert np.flatnonzero(~drives.usable).tolist() == [7]
    assert score_clip(drives)["copy"]["psnr"] == pytest.approx(EQUAL_DB)
    assert score_clip(drives)["self"]["opening"] == pytest.approx(1)


def test_the_lip_region_is_the_mouth_and_a_little_more() -> None:
    region = build_lip_mask(REAL.landmarks[0], 128)
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    assert columns[[0, -1]] == pytest.approx([64 - 24, 64 + 24], abs=1.1)
    assert rows[[0, -1]] == pytest.approx([90 - 17, 90 + 17], abs=1.6)
