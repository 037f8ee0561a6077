"""Mask and paste: crop then paste is the identity, bounds, smoothness, colour."""

import dataclasses
from fractions import Fraction

import cv2
import numpy as np
import pytest
from face_scenes import GRID, background, grid_frames, put_face, run

from cals.face.align import Aligner, sample_crop
from cals.face.detector import BlazeFaceMesh
from cals.face.landmarks import CHIN, LEFT_EYE, MOUTH_OUTER, NOSE_TIP, RIGHT_EYE
from cals.face.mask import build_lower_face_mask
from cals.face.paste import estimate_colour_offset, paste
from cals.face.picture import ArrayPicture
from cals.face.sampling import warp
from cals.face.tracker import FaceTracker
from cals.types import F32, U8, Box, CropTransform, Patch, TrackedFace

SIZES_PX = [40, 95, 380]
"""Face widths: enlarged into the crop, about one to one, four times too large for it."""


class Scene:
    """A frame with one face, its crop and mask."""

    def __init__(self, detector: BlazeFaceMesh, rgb: U8) -> None:
        self.rgb, self.picture = rgb, ArrayPicture(rgb)
        self.face: TrackedFace = FaceTracker(detector).update(self.picture, Fraction(0), 0)
        self.transform: CropTransform = Aligner().update(self.face)
        self.crop = sample_crop(self.picture, self.transform)
        landmarks = self.transform.map_landmarks(self.face.landmarks)
        self.mask: F32 = build_lower_face_mask(landmarks, self.transform, self.picture.width, self.picture.height)

    def paste(self, generated: U8, strength: float = 1.0) -> tuple[Patch, U8]:
        patch = paste(self.picture, self.transform, self.crop, generated, self.mask, strength)
        return patch, self.picture.apply_patch(patch)


@pytest.fixture(scope="module", params=SIZES_PX)
def scene(request: pytest.FixtureRequest, detector: BlazeFaceMesh, portrait: U8) -> Scene:
    return Scene(detector, put_face(background(960, 720, 1), portrait, request.param, (480.3, 340.6), 7.0))


@pytest.fixture(scope="module")
def middle(detector: BlazeFaceMesh, portrait: U8) -> Scene:
    return Scene(detector, put_face(background(640, 480, 1), portrait, 120, (300, 240)))


def test_crop_then_paste_is_the_identity(scene: Scene) -> None:
    patch, out = scene.paste(scene.crop)
    assert (patch.alpha > 0.99).any()
    assert np.abs(out.astype(int) - scene.rgb).max() <= 1


def test_the_resampling_alone_is_a_small_change(scene: Scene) -> None:
    """What pasting costs where the frame's own detail is not kept: mean below 3 levels at every size."""
    picture = ArrayPicture(scene.rgb)
    matrix = scene.transform.inverse
    back = warp(scene.crop, matrix, picture.width, picture.height).astype(int)
    patch, _ = scene.paste(scene.crop)
    box = patch.box
    region = np.s_[box.y0 : box.y1, box.x0 : box.x1]
    inside = patch.alpha > 0.5
    assert np.abs(back[region] - scene.rgb[region].astype(int))[inside].mean() < 3


def test_nothing_outside_the_patch_changes(scene: Scene) -> None:
    garbage = np.random.default_rng(0).integers(0, 256, scene.crop.shape).astype(np.uint8)
    patch, out = scene.paste(garbage)
    box, changed = patch.box, (out != scene.rgb).any(axis=2)
    inside = np.zeros_like(changed)
    inside[box.y0 : box.y1, box.x0 : box.x1] = patch.alpha > 0
    assert changed.any()
    assert not (changed & ~inside).any()


def test_the_patch_is_small_and_its_rim_is_zero(scene: Scene) -> None:
    patch, _ = scene.paste(scene.crop)
    assert scene.face.box is not None
    assert patch.box.width * patch.box.height < 1.2 * scene.face.box.width * scene.face.box.height
    rim = np.concatenate([patch.alpha[0], patch.alpha[-1], patch.alpha[:, 0], patch.alpha[:, -1]])
    assert rim.max() < 0.02
    assert patch.alpha.min() >= 0
    assert patch.alpha.max() <= 1


def test_alpha_has_no_steps(scene: Scene) -> None:
    """The rise of alpha from pixel to pixel is that of the crop's mask, stretched: no staircase when enlarged."""
    patch, _ = scene.paste(scene.crop)
    steepest_crop = max(np.abs(np.diff(scene.mask, axis=axis)).max() for axis in (0, 1))
    steepest = max(np.abs(np.diff(patch.alpha, axis=axis)).max() for axis in (0, 1))
    assert steepest < 1.5 * steepest_crop * max(scene.transform.scale, 0.25)


def test_strength_scales_and_zero_is_nothing(middle: Scene) -> None:
    generated = 255 - middle.crop
    full, half = middle.paste(generated)[0], middle.paste(generated, 0.5)[0]
    np.testing.assert_allclose(half.alpha, full.alpha * 0.5, atol=1e-6)
    patch, out = middle.paste(generated, 0.0)
    assert patch.alpha.size == 0
    np.testing.assert_array_equal(out, middle.rgb)


def test_what_is_generated_arrives(scene: Scene) -> None:
    """A dark mouth painted into the crop shows at the mouth's place in the frame, near as dark."""
    generated = scene.crop.copy()
    mouth = scene.transform.to_crop(scene.face.landmarks[:, :2])[list(MOUTH_OUTER)].mean(axis=0)
    cv2.circle(generated, tuple(int(v) for v in np.rint(mouth)), 7, (30, 10, 10), -1)
    _, out = scene.paste(generated)
    x, y = (int(v) for v in scene.face.landmarks[list(MOUTH_OUTER), :2].mean(axis=0))
    assert out[y, x].max() < 60
    assert scene.rgb[y, x].max() > 100


def test_a_colour_cast_is_taken_out(scene: Scene) -> None:
    cast = np.clip(scene.crop + np.array([12, -8, 6]), 0, 255).astype(np.uint8)
    _, out = scene.paste(cast)
    patch, _ = scene.paste(scene.crop)
    box = patch.box
    change = np.abs(out.astype(int) - scene.rgb)[box.y0 : box.y1, box.x0 : box.x1][patch.alpha > 0.5]
    assert change.mean() < 2.5


def test_the_colour_offset_is_zero_for_equals_and_bounded_for_garbage(middle: Scene) -> None:
    original = middle.crop.astype(np.float32)
    assert not estimate_colour_offset(original, original, middle.mask).any()
    for garbage in (np.zeros_like(original), np.full_like(original, 255)):
        assert np.abs(estimate_colour_offset(original, garbage, middle.mask)).max() <= 24


def test_a_face_outside_the_frame_gives_an_empty_patch(middle: Scene) -> None:
    away = CropTransform(matrix=middle.transform.matrix + np.array([[0, 0, 5000.0], [0, 0, 0]]), size_px=128)
    patch = paste(middle.picture, away, middle.crop, middle.crop, middle.mask)
    assert patch.box.width * patch.box.height == 0


@pytest.mark.parametrize("angle_deg", [0, 40])
def test_a_face_at_the_frame_edge(detector: BlazeFaceMesh, portrait: U8, angle_deg: float) -> None:
    """Chin and one cheek lie outside: the mask ends there, and what is inside still is the identity."""
    edge = Scene(detector, put_face(background(480, 360, 2), portrait, 200, (420, 280), angle_deg))
    grid = np.stack(np.meshgrid(np.arange(128) + 0.5, np.arange(128) + 0.5), axis=-1).reshape(-1, 2)
    outside = (edge.transform.to_frame(grid) > (480, 360)).any(axis=1).reshape(128, 128)
    assert outside.any()
    assert not edge.mask[outside].any()
    assert edge.mask.any()
    patch, out = edge.paste(edge.crop)
    assert patch.box == patch.box.clip(480, 360)
    assert np.abs(out.astype(int) - edge.rgb).max() <= 1


def find_faults(face: TrackedFace, transform: CropTransform, mask: F32) -> list[str]:
    """Name what is wrong with the mask of a face."""
    points = transform.to_crop(face.landmarks[:, :2])

    def at(index: int, dx: float = 0, dy: float = 0) -> float:
        x, y = points[index] + (dx, dy)
        return float(mask[int(np.clip(y, 0, 127)), int(np.clip(x, 0, 127))])

    lips = [at(index) for index in MOUTH_OUTER]
    lids = [int(points[list(eye), 1].max()) + 6 for eye in (LEFT_EYE, RIGHT_EYE)]
    rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    is_right = {
        "type": mask.dtype == np.float32,
        "range": mask.min() == 0 and abs(mask.max() - 1) < 1e-3,
        "lips": min(lips) > 0.6 and np.mean(lips) > 0.9,
        "chin": at(CHIN, dy=-3) > 0.5,
        "room for a wider mouth": at(CHIN) > 0.1,
        "nose": at(NOSE_TIP) == 0,
        "lids and what is below them": mask[: max(lids)].max() == 0,
        "rim": rim.max() == 0,
    }
    return [name for name, holds in is_right.items() if not holds]


def test_mask_of_the_astronaut(scene: Scene) -> None:
    assert find_faults(scene.face, scene.transform, scene.mask) == []
    assert find_faults(scene.face, scene.transform, np.zeros_like(scene.mask)) == [
        "range",
        "lips",
        "chin",
        "room for a wider mouth",
    ]


def test_mask_is_steady(detector: BlazeFaceMesh, portrait: U8) -> None:
    """A shift of a fraction of a pixel moves the mask by as little."""
    one, other = (Scene(detector, put_face(background(640, 480, 1), portrait, 120, (300 + d, 240))) for d in (0, 0.3))
    assert np.abs(one.mask - other.mask).max() < 0.15


@pytest.mark.corpus
@pytest.mark.parametrize("speaker", ["s1", "s23", "gA", "gB", "gD", "gE", "gG", "gN"])
def test_masks_of_grid(detector: BlazeFaceMesh, speaker: str) -> None:
    if not GRID.is_dir():
        pytest.skip(f"the corpus is not at {GRID}")
    aligner = Aligner()
    frames = list(grid_frames(speaker, every=5))
    assert frames
    for rgb, face in zip(frames, run(FaceTracker(detector), frames), strict=True):
        transform = aligner.update(face)
        mask = build_lower_face_mask(transform.map_landmarks(face.landmarks), transform, rgb.shape[1], rgb.shape[0])
        assert find_faults(face, transform, mask) == []


def test_patched_blends_by_alpha() -> None:
    old = np.full((4, 4, 3), 100, np.uint8)
    alpha = np.array([[0.0, 0.5, 1.0]], np.float32)
    patch = Patch(box=Box(1, 2, 4, 3), rgb=np.full((1, 3, 3), 200, np.uint8), alpha=alpha)
    out = ArrayPicture(old).apply_patch(patch)
    assert out[2, 1:, 0].tolist() == [100, 150, 200]
    assert (np.delete(out, 2, axis=0) == 100).all()
    assert (old == 100).all()


@pytest.mark.parametrize("angle_deg", [-40, 40])
def test_a_turned_mouth_is_covered(middle: Scene, angle_deg: float) -> None:
    """The far cheek folds behind the mouth; only the landmarks are turned, in space."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    centre = middle.face.landmarks.mean(axis=0)
    turned = (middle.face.landmarks - centre) @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) + centre
    face = dataclasses.replace(middle.face, landmarks=turned.astype(np.float32))
    transform = Aligner().update(face)
    mask = build_lower_face_mask(transform.map_landmarks(face.landmarks), transform, 640, 480)
    for x, y in transform.to_crop(face.landmarks[:, :2])[list(MOUTH_OUTER)].astype(int):
        assert mask[y, x] > 0.6
