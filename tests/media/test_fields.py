"""Interlaced pictures are seen as one moment, and stay interlaced where nothing is drawn."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cals.media.fields import merge_fields
from cals.media.frame import Frame
from cals.types import U8


def draw_bar(x: float) -> U8:
    """Draw a soft bright bar at column x on a textured background [96 128]."""
    ground = np.tile(np.linspace(60, 90, 128), (96, 1)) + 8 * np.sin(np.arange(96) / 5)[:, None]
    return np.rint(ground + 120 * np.exp(-(((np.arange(128) - x) / 8) ** 2))).astype(np.uint8)


def weave_fields(upper: U8, lower: U8) -> U8:
    woven = upper.copy()
    woven[1::2] = lower[1::2]
    return woven


def test_combs_go() -> None:
    early, late = draw_bar(50), draw_bar(62)
    woven = weave_fields(early, late)
    merged = merge_fields(woven, 8)
    assert np.array_equal(merged[::2], early[::2])
    before, after = (np.abs(picture.astype(int) - early)[2:-2].mean() for picture in (woven, merged))
    assert before > 8
    assert after < 1


@pytest.mark.parametrize("bits", [8, 10])
def test_what_stands_still_stays(bits: int) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    still = cv2.GaussianBlur(np.random.default_rng(0).normal(128, 60, (96, 128)).astype(np.float32), (0, 0), 1.5)
    plane = (still * (1 << (bits - 8))).astype(dtype)
    assert np.abs(merge_fields(plane, bits).astype(int) - plane).mean() < 0.2 * (1 << (bits - 8))


@pytest.mark.parametrize("height", [1, 2, 3, 5, 97])
def test_any_height(height: int) -> None:
    plane = np.full((height, 32), 100, np.uint8)
    assert np.array_equal(merge_fields(plane, 8), plane)


def test_a_frame_is_seen_whole_and_stored_interlaced(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"x264-params": "tff=1", "crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for index in range(4):
            grey = weave_fields(draw_bar(40 + 8 * index), draw_bar(44 + 8 * index))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.dstack([grey] * 3), "rgb24")))
        out.mux(stream.encode(None))
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
    frame = Frame(picture, 0, Fraction(0), Fraction(1, 25))
    assert picture.interlaced_frame
    rows = frame.rgb()[..., 1].astype(int)
    stored = frame.planes[0].astype(int)
    assert np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean() < 2
    assert np.abs(stored[1:-1] - (stored[:-2] + stored[2:]) / 2).mean() > 5
    assert np.abs(frame.luma(64, 48).astype(int)).mean() > 0
