import cv2
import numpy as np
import pytest

from cals.data.pictures import (
    AppearanceTransform,
    apply_appearance,
    build_lookup_table,
    build_remap,
    transpose_channels,
)

SIDE = 128


def look(**changes: object) -> AppearanceTransform:
    columns, rows = build_remap(SIDE, SIDE, np.eye(2, 3))
    light = build_lookup_table(np.ones(3), 1.0)
    return AppearanceTransform(**({"map_x": columns, "map_y": rows, "lookup_table": light} | changes))  # type: ignore[arg-type]


def test_nothing_changed_is_the_same() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(apply_appearance(crops, look(), np.random.default_rng(0)), crops)
    np.testing.assert_array_equal(transpose_channels(crops), crops.transpose(0, 3, 1, 2))


def test_blur_noise_and_compression_do_what_they_say() -> None:
    crops = np.random.default_rng(0).integers(60, 190, (2, SIDE, SIDE, 3), dtype=np.uint8)
    rng = np.random.default_rng(0)
    assert apply_appearance(crops, look(blur_px=1.5), rng).std() < crops.std() / 3
    flat = np.full_like(crops, 120)
    noisy = apply_appearance(flat, look(noise=8.0), rng)
    assert noisy.std() == pytest.approx(8, rel=0.05)
    assert noisy.mean() == pytest.approx(120, abs=0.5)
    assert not np.array_equal(noisy[0], noisy[1])  # a sensor's, not a dirty lens
    coded = apply_appearance(crops, look(jpeg=20), rng)
    np.testing.assert_array_equal(coded[0], cv2.imdecode(cv2.imencode(".jpg", crops[0], [1, 20])[1], 1))


def test_light_is_a_gain_on_a_power() -> None:
    table = build_lookup_table(np.array([1.0, 0.5, 2.0]), 2.0)
    assert table[128].tolist() == [64, 32, 129]
    assert table[255].tolist() == [255, 128, 255]


def test_smooth_bumps_move_but_never_fold() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        columns, rows = build_remap(SIDE, SIDE, np.eye(2, 3), rng.normal(0, 0.015 * SIDE, (5, 5, 2)))
        assert np.diff(columns, axis=1).min() > 0.2
        assert np.diff(rows, axis=0).min() > 0.2
        assert 0.5 < np.abs(columns - np.arange(SIDE)).max() < 10
