import cv2
import numpy as np
import pytest

from cals.data.pictures import Look, light_table, morphed, planes, reading_map, repainted, resting, shape_offset

SIDE = 128


def look(**changes: object) -> Look:
    columns, rows = reading_map(SIDE, SIDE, np.eye(2, 3))
    light = light_table(np.ones(3), 1.0)
    return Look(**({"columns": columns, "rows": rows, "light": light} | changes))  # type: ignore[arg-type]


def picture(frames: int = 2) -> np.ndarray:
    """Red tells the column, green the row, blue stays."""
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    one = np.stack([x, y, np.full_like(x, 90)], axis=-1).astype(np.uint8)
    return np.repeat(one[None], frames, axis=0)


def test_nothing_changed_is_the_same() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(repainted(crops, look(), np.random.default_rng(0)), crops)
    np.testing.assert_array_equal(planes(crops), crops.transpose(0, 3, 1, 2))


def test_blur_noise_and_compression_do_what_they_say() -> None:
    crops = np.random.default_rng(0).integers(60, 190, (2, SIDE, SIDE, 3), dtype=np.uint8)
    rng = np.random.default_rng(0)
    assert repainted(crops, look(blur_px=1.5), rng).std() < crops.std() / 3
    flat = np.full_like(crops, 120)
    noisy = repainted(flat, look(noise=8.0), rng)
    assert noisy.std() == pytest.approx(8, rel=0.05)
    assert noisy.mean() == pytest.approx(120, abs=0.5)
    assert not np.array_equal(noisy[0], noisy[1])  # a sensor's, not a dirty lens
    coded = repainted(crops, look(jpeg=20), rng)
    np.testing.assert_array_equal(coded[0], cv2.imdecode(cv2.imencode(".jpg", crops[0], [1, 20])[1], 1))


def test_light_is_a_gain_on_a_power() -> None:
    table = light_table(np.array([1.0, 0.5, 2.0]), 2.0)
    assert table[128].tolist() == [64, 32, 129]
    assert table[255].tolist() == [255, 128, 255]


def test_smooth_bumps_move_but_never_fold() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        columns, rows = reading_map(SIDE, SIDE, np.eye(2, 3), rng.normal(0, 0.015 * SIDE, (5, 5, 2)))
        assert np.diff(columns, axis=1).min() > 0.2
        assert np.diff(rows, axis=0).min() > 0.2
        assert 0.5 < np.abs(columns - np.arange(SIDE)).max() < 10


def face(rng: np.random.Generator, frames: int = 6) -> np.ndarray:
    shape = rng.uniform((30, 20), (98, 110), (468, 2))
    motion = rng.normal(0, 2, (frames, 1, 2))
    return np.dstack([shape + motion, np.zeros((frames, 468, 1))]).astype(np.float32)


def test_landmarks_of_a_morph_land_where_they_should() -> None:
    rng = np.random.default_rng(0)
    landmarks = face(rng)
    x, y = (resting(landmarks) - 64).T / 40
    offset = np.stack([5 * x + 2 * y**2, 4 * np.sin(2 * y) - 2 * x * y], axis=1).astype(np.float32)
    found = morphed(picture(len(landmarks)), landmarks, offset)
    for t, points in enumerate(landmarks[..., :2]):
        place = (points + offset - 0.5).astype(np.float32)
        seen = cv2.remap(found[t].astype(np.float32), place[:, None, 0], place[:, None, 1], cv2.INTER_LINEAR)[:, 0]
        missed = np.hypot(*(seen[:, :2] - (points - 0.5)).T)
        assert np.median(missed) < 0.5
        assert np.percentile(missed, 95) < 1.2
    np.testing.assert_array_equal(found[:, :3, :3], picture(len(landmarks))[:, :3, :3])  # far away nothing moves


def test_a_face_as_it_is_does_not_change() -> None:
    landmarks = face(np.random.default_rng(1))
    found = morphed(picture(6), landmarks, np.zeros((468, 2), np.float32))
    np.testing.assert_array_equal(found, picture(6))


def test_proportions_know_no_size_turn_or_place() -> None:
    own = resting(face(np.random.default_rng(2)))
    cos, sin = 1.3 * np.cos(0.3), 1.3 * np.sin(0.3)
    moved = own @ np.array([[cos, sin], [-sin, cos]], np.float32) + 7
    np.testing.assert_allclose(shape_offset(own, moved), 0, atol=1e-3)
    wider = own * (1.1, 1.0)
    offset = shape_offset(own, wider.astype(np.float32))
    assert np.corrcoef(offset[:, 0], own[:, 0])[0, 1] > 0.99
    np.testing.assert_allclose(shape_offset(own, wider.astype(np.float32), share=0.5), offset / 2, rtol=1e-4, atol=1e-5)
