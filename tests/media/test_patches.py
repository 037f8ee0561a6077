"""Patching a frame changes what it should, and nothing else, in every pixel format."""

from fractions import Fraction

import av
import numpy as np
import pytest

from cals.media.color import LAYOUTS, get_color_space
from cals.media.frame import Frame, get_plane_views
from cals.types import Box, Patch
from drawing import picture

FORMATS = sorted(LAYOUTS)
BOXES = [Box(8, 8, 40, 40), Box(9, 7, 32, 22), Box(0, 0, 63, 47), Box(51, 33, 63, 47), Box(5, 5, 6, 6)]


IN_CUBE = ((100, 150), (118, 138), (118, 138))
SAMPLES = {"in the cube": IN_CUBE, "super white": ((236, 255), (126, 131), (126, 131)), "any": ((0, 256),) * 3}
"""Ranges of 8-bit Y, Cb and Cr; the deeper formats have them times 4."""
ALPHA = (0, 256)


def noise_frame(
    pix_fmt: str,
    size: tuple[int, int] = (63, 47),
    matrix: int = 2,
    samples: tuple[tuple[int, int], ...] = IN_CUBE,
    color_range: int = 0,
) -> Frame:
    """Build a frame of random samples in the range of `samples`."""
    shown = av.VideoFrame(*size, pix_fmt)
    shown.colorspace, shown.color_range = matrix, color_range
    rng = np.random.default_rng(3)
    step = 1 << (LAYOUTS[pix_fmt].bits - 8)
    for plane, (low, high) in zip(get_plane_views(shown), [*samples, ALPHA], strict=False):
        plane[...] = rng.integers(low * step, high * step, plane.shape)
    return Frame(shown, 0, Fraction(0), Fraction(1, 25))


def footprint(mask, shape, layout):
    """Return the chroma samples of which any pixel is set in `mask`."""
    grown = np.zeros((shape[0] << layout.shift_y, shape[1] << layout.shift_x), bool)
    grown[: mask.shape[0], : mask.shape[1]] = mask
    return grown.reshape(shape[0], 1 << layout.shift_y, shape[1], 1 << layout.shift_x).any(axis=(1, 3))


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("box", BOXES)
def test_a_cutout_is_the_part_without_the_rest(pix_fmt, box):
    frame = noise_frame(pix_fmt)
    part = frame.cut(box)
    assert np.array_equal(part.rgb(), frame.rgb(box))
    assert not any(np.shares_memory(own, whole) for own in part.planes for whole in frame.planes)
    layout = LAYOUTS[pix_fmt]
    cell_px = (1 << layout.shift_x) * (1 << layout.shift_y)
    stored_bytes = (box.width + 1) * (box.height + 1) * (1 + 2 / cell_px) * (1 + (layout.bits > 8))
    assert part.nbytes <= stored_bytes + 12 * (box.width + box.height)


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("blocks", [2, 3, 4, 7])
@pytest.mark.parametrize("box", [Box(8, 6, 50, 34), Box(2, 0, 63, 47), Box(60, 44, 63, 47)])
def test_averages_are_those_of_the_pixels(pix_fmt, blocks, box):
    frame = noise_frame(pix_fmt)
    found = frame.rgb(box, blocks)
    assert found.shape == (-(-box.height // blocks), -(-box.width // blocks), 3)
    pixels = frame.rgb(Box(box.x0, box.y0, 63, 47)).astype(float)
    padded = np.pad(pixels, [(0, 2 * blocks), (0, 2 * blocks), (0, 0)], "edge")
    for row, column in np.ndindex(found.shape[:2]):
        y, x = row * blocks, column * blocks
        expected = padded[y : y + blocks, x : x + blocks].mean(axis=(0, 1))
        assert np.abs(found[row, column] - expected).max() < 4


def test_a_tall_patch_is_blended_as_in_one(monkeypatch):
    frame, rng = noise_frame("yuv420p", (64, 300), samples=SAMPLES["any"]), np.random.default_rng(5)
    box = Box(3, 5, 60, 291)
    rgb = rng.integers(0, 256, (box.height, box.width, 3), dtype=np.uint8)
    patch = Patch(box, rgb, rng.random((box.height, box.width), dtype=np.float32))
    in_strips = frame.with_patch(patch)
    monkeypatch.setattr("cals.media.color._STRIP_ROWS", 1000)
    for found, expected in zip(in_strips.planes, frame.with_patch(patch).planes, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("box", BOXES)
def test_samples_without_alpha_stay_bit_exact(pix_fmt, box):
    frame = noise_frame(pix_fmt)
    alpha = np.random.default_rng(1).random((box.height, box.width), dtype=np.float32)
    alpha[alpha < 0.5] = 0
    patched = frame.with_patch(Patch(box, np.full((box.height, box.width, 3), 200, np.uint8), alpha))
    mask = np.zeros((47, 63), bool)
    mask[box.y0 : box.y1, box.x0 : box.x1] = alpha > 0
    old, new = frame.planes, patched.planes
    assert np.array_equal(old[0][~mask], new[0][~mask])
    clear = [get_plane_views(shown.picture)[3:] for shown in (frame, patched)]
    assert all(np.array_equal(before, after) for before, after in zip(*clear, strict=True))
    for before, after in zip(old[1:], new[1:], strict=True):
        untouched = ~footprint(mask, before.shape, LAYOUTS[pix_fmt])
        assert np.array_equal(before[untouched], after[untouched])
    if mask.sum() > 1:
        assert not np.array_equal(old[0], new[0])


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("samples", SAMPLES)
def test_pasting_back_what_was_there_changes_nothing(pix_fmt, color_range, samples):
    frame = noise_frame(pix_fmt, samples=SAMPLES[samples], color_range=color_range)
    for box in BOXES:
        alpha = np.random.default_rng(1).random((box.height, box.width), dtype=np.float32)
        for share in (np.ones_like(alpha), alpha):
            patched = frame.with_patch(Patch(box, frame.rgb(box), share))
            assert all(np.array_equal(*both) for both in zip(frame.planes, patched.planes, strict=True))


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("color", [(180, 120, 90), (3, 9, 6), (250, 252, 247)])
def test_opaque_patch_is_seen_as_given(pix_fmt, color_range, samples, color):
    box = Box(8, 8, 48, 40)
    rgb = np.tile(np.array(color, np.uint8), (box.height, box.width, 1))
    frame = noise_frame(pix_fmt, samples=SAMPLES[samples], color_range=color_range)
    patched = frame.with_patch(Patch(box, rgb, np.ones((box.height, box.width), np.float32)))
    assert np.abs(patched.rgb(box).astype(int) - rgb).max() <= 2


def test_a_patch_of_8_bits_keeps_the_depth_below_it():
    frame = noise_frame("yuv444p10le")
    box = Box(0, 0, 63, 47)
    lighter = frame.rgb() + np.uint8(4)
    patched = frame.with_patch(Patch(box, lighter, np.ones((47, 63), np.float32)))
    lifted = patched.planes[0].astype(int) - frame.planes[0]
    assert lifted.min() == lifted.max() == round(4 * 4 * 219 / 255)


def test_half_alpha_is_half_way():
    frame = noise_frame("yuv444p10le")
    box = Box(4, 4, 20, 20)
    rgb = np.full((16, 16, 3), 128, np.uint8)
    full = frame.with_patch(Patch(box, rgb, np.ones((16, 16), np.float32))).planes[0].astype(float)
    half = frame.with_patch(Patch(box, rgb, np.full((16, 16), 0.5, np.float32))).planes[0]
    assert np.abs(half - (full + frame.planes[0]) / 2).max() <= 1


def test_a_patch_leaves_the_frame_it_came_from_alone():
    frame = noise_frame("yuv420p")
    before = [plane.copy() for plane in frame.planes]
    frame.with_patch(Patch(Box(0, 0, 63, 47), np.zeros((47, 63, 3), np.uint8), np.ones((47, 63), np.float32)))
    assert all(np.array_equal(a, b) for a, b in zip(before, frame.planes, strict=True))


def test_a_patch_may_reach_outside():
    frame = noise_frame("yuv420p")
    patch = Patch(Box(-10, -10, 10, 10), np.full((20, 20, 3), 250, np.uint8), np.ones((20, 20), np.float32))
    patched = frame.with_patch(patch)
    assert patched.rgb(Box(0, 0, 10, 10)).min() > 245
    assert np.array_equal(patched.planes[0][10:], frame.planes[0][10:])


@pytest.mark.parametrize("box", BOXES)
def test_a_region_is_the_same_as_the_part_of_the_whole(box):
    frame = noise_frame("yuv420p")
    assert np.array_equal(frame.rgb(box), frame.rgb()[box.y0 : box.y1, box.x0 : box.x1])


@pytest.mark.parametrize(
    ("matrix", "height", "green_luma"),
    [(1, 48, 0.7152), (6, 1080, 0.587), (5, 48, 0.587), (9, 48, 0.678), (2, 720, 0.7152), (2, 576, 0.587)],
)
def test_the_matrix_follows_the_tag_or_the_size(matrix, height, green_luma):
    limited = get_color_space("yuv420p", matrix, 1, height).from_rgb @ np.array([0, 255, 0, 1])
    full = get_color_space("yuv420p", matrix, 2, height).from_rgb @ np.array([0, 255, 0, 1])
    deep = get_color_space("yuv420p10le", matrix, 1, height).from_rgb @ np.array([0, 255, 0, 1])
    assert limited[0] == pytest.approx(16 + 219 * green_luma, abs=0.05)
    assert full[0] == pytest.approx(255 * green_luma, abs=0.05)
    assert deep[0] == pytest.approx(4 * limited[0], abs=0.05)


@pytest.mark.parametrize(("matrix", "name"), [(1, "itu709"), (6, "itu601"), (9, "bt2020")])
def test_rgb_agrees_with_swscale(matrix, name):
    size = (64, 48)
    smooth = np.repeat(np.repeat(picture(3, (8, 6)), 8, axis=0), 8, axis=1)  # flat cells: chroma filters cannot differ
    shown = av.VideoFrame.from_ndarray(smooth, "rgb24").reformat(
        format="yuv444p", dst_colorspace=name, src_color_range=2, dst_color_range=1
    )
    shown.colorspace = matrix
    rgb = Frame(shown, 0, Fraction(0), Fraction(1)).rgb()
    assert rgb.shape == (size[1], size[0], 3)
    assert np.abs(rgb.astype(int) - smooth).max() <= 3


def test_luma_is_the_brightness_at_the_size_asked_for():
    frame = noise_frame("yuv420p10le", (640, 360))
    small = frame.luma(128, 96)
    assert small.shape == (96, 128)
    assert small.dtype == np.uint8
    assert abs(float(small.mean()) - float(frame.planes[0].mean()) / 4) < 1


def test_retimed_frames_share_their_pixels_and_patched_ones_do_not():
    frame = noise_frame("yuv420p")
    later = frame.with_time(7, Fraction(7, 25), Fraction(2, 25))
    assert later.has_same_pixels(frame)
    assert (later.index, later.time_s, later.duration_s) == (7, Fraction(7, 25), Fraction(2, 25))
    patch = Patch(Box(0, 0, 2, 2), np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), np.float32))
    assert not frame.with_patch(patch).has_same_pixels(frame)
