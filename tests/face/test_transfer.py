"""Pixels of one frame laid into another: nothing is lost where nothing changes, at the frames' own resolution."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from face_scenes import background
from numpy.typing import NDArray

import drawn_face
from cals.face.align import sample_crop
from cals.face.landmarks import MOUTH_INNER, MOUTH_OUTER
from cals.face.mask import build_lip_mask, build_moving_face_mask
from cals.face.picture import ArrayPicture
from cals.face.sampling import build_similarity, warp
from cals.face.transfer import MAX_SOURCE_SCALE, SourceFace, build_source_face, collect_outer_lips, transfer_pixels
from cals.types import F32, U8, Box, CropTransform, Patch

HERE = np.stack(np.meshgrid(np.arange(128) + 0.5, np.arange(128) + 0.5), axis=-1).astype(np.float32)
LANDMARKS = drawn_face.points(4.0)
FACE_PX = [45, 92, 350]
"""Widths of the face in the frame; 92 in the crop."""


@dataclass
class Scene:
    """A frame of fine texture, and where a face lies in it."""

    rgb: U8
    transform: CropTransform

    def __post_init__(self) -> None:
        self.picture = ArrayPicture(self.rgb)
        self.crop = sample_crop(self.picture, self.transform)
        self.mask: F32 = build_moving_face_mask(
            LANDMARKS, LANDMARKS, self.transform, self.picture.width, self.picture.height
        )

    def keep(self, rgb: U8 | None = None) -> SourceFace:
        """Build the source face, optionally with other pixels in the frame."""
        picture = self.picture if rgb is None else ArrayPicture(rgb)
        return build_source_face(picture, self.transform, sample_crop(picture, self.transform))

    def lay(
        self, *parts: tuple[SourceFace, F32, float | F32], strength: float = 1.0
    ) -> tuple[Patch, NDArray[np.int64]]:
        """Return the patch, and the frame with it."""
        lips = collect_outer_lips(LANDMARKS)
        patch = transfer_pixels(self.picture, self.transform, self.crop, self.mask, lips, parts, strength)
        return patch, self.picture.apply_patch(patch).astype(np.int64)

    def place(self, points: F32) -> NDArray[np.float64]:
        return self.transform.to_frame(points[:, :2])


def scene(face_px: float, at: tuple[float, float] = (300.0, 250.0), size: tuple[int, int] = (600, 520)) -> Scene:
    rng = np.random.default_rng(3)
    texture = rng.normal(0, 4, (size[1], size[0], 3)) + rng.normal(0, 6, (size[1], size[0], 1))
    rgb = np.clip(0.5 * background(*size, seed=1) + 70 + texture, 0, 255).astype(np.uint8)
    matrix = build_similarity(92 / face_px, math.radians(-7), at, (64.0, 64.0))
    made = Scene(rgb, CropTransform(matrix, 128))
    outline = np.rint(made.place(LANDMARKS[list(MOUTH_OUTER)]) - 0.5).astype(np.int32)
    cv2.fillPoly(rgb, [outline], (150, 60, 70))
    return Scene(rgb, made.transform)


@pytest.fixture(params=FACE_PX)
def any_size(request: pytest.FixtureRequest) -> Scene:
    return scene(request.param)


def detail(rgb: NDArray[np.int64], where: NDArray[np.bool_]) -> float:
    """Compute the mean squared difference of neighbours among the pixels `where`."""
    both = where[:, 1:] & where[:, :-1]
    return float(np.square(np.diff(rgb, axis=1)[both].astype(float)).mean())


def solid(patch: Patch, like: U8) -> NDArray[np.bool_]:
    """Return where the frame shows the patch alone."""
    where = np.zeros(like.shape[:2], dtype=bool)
    where[patch.box.y0 : patch.box.y1, patch.box.x0 : patch.box.x1] = patch.alpha > 0.98
    return where


def test_a_face_laid_into_itself_changes_nothing(any_size: Scene) -> None:
    patch, out = any_size.lay((any_size.keep(), HERE, 1.0))
    assert solid(patch, any_size.rgb).sum() > 300
    assert np.abs(out - any_size.rgb).max() <= 2


def test_pixels_outside_the_mask_stay(any_size: Scene) -> None:
    patch, out = any_size.lay((any_size.keep(255 - any_size.rgb), HERE, 1.0))
    changed = (out != any_size.rgb).any(axis=2)
    box = patch.box
    assert changed.any()
    assert not changed[: box.y0].any()
    assert not changed[box.y1 :].any()
    assert not changed[box.y0 : box.y1, box.x0 : box.x1][patch.alpha == 0].any()
    covered = np.ptp(any_size.place(LANDMARKS), axis=0).prod()
    assert box.width * box.height < 1.2 * covered


def test_a_large_face_keeps_its_detail() -> None:
    large = scene(350)
    moved = HERE + np.float32([0.4, -0.7])
    patch, out = large.lay((large.keep(), moved, 1.0))
    where = solid(patch, large.rgb)
    detour = warp(large.crop, large.transform.inverse, large.picture.width, large.picture.height).astype(np.int64)
    own = detail(large.rgb.astype(np.int64), where)
    assert detail(out, where) > 0.5 * own  # bicubic reading between pixels costs white noise some of it
    assert detail(detour, where) < 0.1 * own


def test_memory_of_very_large_faces_is_bounded() -> None:
    small, huge = scene(92), scene(1200, at=(700.0, 600.0), size=(1500, 1300))
    assert max(huge.keep().pixels.shape) < 1.2 * MAX_SOURCE_SCALE * 128
    assert huge.keep().nbytes < 1.1 * MAX_SOURCE_SCALE**2 * small.keep().nbytes
    patch, out = huge.lay((huge.keep(), HERE, 1.0))
    where = solid(patch, huge.rgb)
    smooth = [cv2.blur(picture.astype(np.float32), (9, 9)) for picture in (out, huge.rgb)]
    assert np.abs(smooth[0] - smooth[1])[where].mean() < 2


@pytest.mark.parametrize(
    ("light", "lift"),
    [((0.5, 0.5, 0.5), 0), ((0.6, 0.8, 0.7), 0), ((0.4, 0.4, 0.4), 110), ((0.6, 0.6, 0.6), 100)],
)
def test_another_light_is_matched(any_size: Scene, light: tuple[float, float, float], lift: int) -> None:
    other = (any_size.rgb * light + lift).astype(np.uint8)
    patch, out = any_size.lay((any_size.keep(other), HERE, 1.0))
    where = solid(patch, any_size.rgb)
    assert np.abs(out - any_size.rgb)[where].mean() < 3
    assert np.abs(other.astype(int) - any_size.rgb)[where].mean() > 15


def test_what_is_between_the_lips_is_no_light() -> None:
    one = scene(92)
    black = one.rgb.copy()
    cv2.fillPoly(black, [np.rint(one.place(LANDMARKS[list(MOUTH_OUTER)]) - 0.5).astype(np.int32)], (0, 0, 0))
    patch, out = one.lay((one.keep(black), HERE, 1.0))
    skin = solid(patch, one.rgb)
    lips = one.place(LANDMARKS[list(MOUTH_OUTER)])
    (x0, y0), (x1, y1) = lips.min(axis=0).astype(int) - 4, lips.max(axis=0).astype(int) + 5
    skin[y0:y1, x0:x1] = False
    assert skin.sum() > 500
    assert np.abs(out - one.rgb)[skin].max() <= 3


def test_pixels_come_from_where_they_are_told(any_size: Scene) -> None:
    """A dot on the cheek, three crop pixels to the left."""
    cheek = np.float32([[44.0, 78.0]])
    x, y = any_size.place(cheek)[0]
    dotted = any_size.rgb.copy()
    radius = max(2, round(2 / any_size.transform.scale))
    cv2.circle(dotted, (round(x - 0.5), round(y - 0.5)), radius, (0, 255, 0), -1)
    moved = HERE + np.float32([3.0, 0.0])
    with_dot, without = (any_size.lay((any_size.keep(rgb), moved, 1.0))[1] for rgb in (dotted, any_size.rgb))
    green = np.argwhere((with_dot - without)[..., 1] > 40)
    found = any_size.transform.to_crop(green[:, ::-1].mean(axis=0, keepdims=True) + 0.5)
    assert found[0] == pytest.approx([41.0, 78.0], abs=0.6)


def test_shares_are_mixed() -> None:
    one = scene(92)
    first, second = one.keep(), one.keep(np.ascontiguousarray(one.rgb[::-1]))
    alone = [one.lay((source, HERE, 1.0))[0].rgb.astype(float) for source in (first, second)]
    mixed = one.lay((first, HERE, 0.25), (second, HERE, 0.75))[0].rgb
    assert np.abs(alone[0] - alone[1]).mean() > 5
    assert np.abs(mixed - (0.25 * alone[0] + 0.75 * alone[1])).mean() < 1


def test_strength_scales_and_zero_is_nothing() -> None:
    one = scene(92)
    source = one.keep(255 - one.rgb)
    full, half = one.lay((source, HERE, 1.0))[0], one.lay((source, HERE, 1.0), strength=0.5)[0]
    np.testing.assert_allclose(half.alpha, full.alpha / 2, atol=1e-6)
    patch, out = one.lay((source, HERE, 1.0), strength=0.0)
    assert patch.alpha.size == 0
    assert (out == one.rgb).all()


@pytest.mark.parametrize("at", [(575.0, 250.0), (300.0, 15.0), (20.0, 500.0)])
def test_a_face_at_the_frames_edge(at: tuple[float, float]) -> None:
    edge = scene(150, at=at)
    patch, out = edge.lay((edge.keep(), HERE, 1.0))
    assert patch.box == patch.box.clip(600, 520)
    assert np.abs(out - edge.rgb).max() <= 2


def test_a_face_beyond_the_edge_is_nothing() -> None:
    away = scene(92, at=(-400.0, 250.0))
    patch, _ = away.lay((away.keep(), HERE, 1.0))
    assert patch.box.width * patch.box.height == 0
    inside = scene(92)
    assert inside.lay((away.keep(), HERE, 1.0))[0].rgb.shape[2] == 3  # as a source it lends what its crop shows


def test_an_inner_mouth_is_drawn_between_the_lips_alone() -> None:
    one = scene(350)
    parts, lips = [(one.keep(), HERE, 1.0)], collect_outer_lips(LANDMARKS)
    given = (one.picture, one.transform, one.crop, one.mask, lips, parts)
    plain, none, drawn = (transfer_pixels(*given, inner=inner) for inner in (None, (LANDMARKS, 0.0), (LANDMARKS, 1.0)))
    assert np.array_equal(plain.rgb, none.rgb)
    changed = np.argwhere((drawn.rgb != plain.rgb).any(axis=2))[:, ::-1] + (plain.box.x0 + 0.5, plain.box.y0 + 0.5)
    outline = one.place(LANDMARKS[list(MOUTH_INNER)]).astype(np.float32)
    depths = [cv2.pointPolygonTest(outline, (float(x), float(y)), True) for x, y in changed]
    assert len(depths) > 300
    assert min(depths) > -2
    assert Box(*plain.box) == drawn.box


def test_shares_may_differ_from_pixel_to_pixel() -> None:
    one = scene(350)
    outline = np.rint(one.place(LANDMARKS[list(MOUTH_OUTER)]) - 0.5).astype(np.int32)
    other_rgb = one.rgb.copy()
    cv2.fillPoly(other_rgb, [outline], (40, 160, 60))
    other, lips = one.keep(other_rgb), build_lip_mask(LANDMARKS, 128)
    shown = [one.lay((one.keep(), HERE, share), (other, HERE, 1 - share))[1] for share in (lips, 1 - lips)]
    inner = np.zeros(one.rgb.shape[:2], np.uint8)
    cv2.fillPoly(inner, [np.rint(one.place(LANDMARKS[list(MOUTH_INNER)]) - 0.5).astype(np.int32)], 1)
    for drawn, expected in zip(shown, (one.rgb, other_rgb), strict=True):
        assert np.abs(drawn - expected)[inner > 0].mean() < 12
    assert np.abs(shown[0] - shown[1])[inner > 0].mean() > 60
