"""The filter, the similarity fit, steadiness and lag of the alignment, and the crop."""

import math
from fractions import Fraction

import numpy as np
import pytest
from face_scenes import FACE_CENTRE, GRID, background, grid_frames, run

from cals.face.align import EYE_DISTANCE_PX, EYES_PX, Aligner, estimate_pose, fit_similarity, sample_crop
from cals.face.detector import BlazeFaceMesh
from cals.face.filters import OneEuro
from cals.face.landmarks import (
    CHIN,
    MOUTH_INNER,
    MOUTH_OUTER,
    compute_eye_centres,
    measure_inter_ocular_px,
    measure_mouth_opening,
    measure_mouth_width,
)
from cals.face.picture import ArrayPicture
from cals.face.sampling import build_similarity, sample, warp
from cals.face.tracker import FaceTracker
from cals.types import U8, Box, CropTransform, TrackedFace, apply_affine, invert_affine

SPEAKERS = ["s1", "s23", "gA", "gB", "gC", "gD", "gE", "gF", "gG", "gJ", "gN", "gQ", "gR", "gS"]


def _filter(beta: float = 20.0) -> OneEuro:
    return OneEuro(min_cutoff_hz=1.0, beta=beta, speed_cutoff_hz=8.0)


def _shift_face(face: TrackedFace, by: tuple[float, float], time_s: Fraction, track: int = 0) -> TrackedFace:
    """Move the face to another position and time."""
    landmarks = face.landmarks + np.array([*by, 0], np.float32)
    return TrackedFace(
        index=0, time_s=time_s, valid=True, track=track, cut=False, score=1.0, box=face.box, landmarks=landmarks
    )


@pytest.fixture(scope="module")
def still(detector: BlazeFaceMesh, portrait: U8) -> TrackedFace:
    return run(FaceTracker(detector), [portrait] * 2)[1]


def test_the_filter_lags_constant_motion_by_no_more_than_its_bound() -> None:
    for speed in (0.1, 1.0, 10.0):
        euro, times = _filter(), np.arange(200) / 25
        out = np.array([euro.update(np.array([speed * t]), float(t))[0] for t in times])
        lag = speed * times[-1] - out[-1]
        assert -1e-9 <= lag < 1 / (2 * math.pi * 20.0)
        if speed < 1:
            assert lag > 0.001  # slow motion is smoothed


def test_the_filter_is_the_same_at_any_frame_rate() -> None:
    ends = []
    for fps in (25, 100):
        euro = OneEuro(min_cutoff_hz=1.0, beta=0.0, speed_cutoff_hz=8.0)
        euro.update(np.array([0.0]), 0.0)
        ends.append([float(euro.update(np.array([1.0]), i / fps)[0]) for i in range(1, fps + 1)][-1])
    assert ends[0] == pytest.approx(ends[1], abs=1e-9)


def test_the_filter_quiets_noise_and_starts_afresh_on_reset() -> None:
    noise = np.random.default_rng(0).normal(0, 0.002, 500)
    euro = _filter()
    out = [float(euro.update(np.array([v]), i / 25)[0]) for i, v in enumerate(noise)]
    assert np.std(out[50:]) < 0.6 * np.std(noise)
    euro.reset()
    assert euro.update(np.array([5.0]), 20.04)[0] == 5.0


def test_fit_similarity_recovers_a_known_one() -> None:
    points = np.random.default_rng(1).normal(size=(8, 2))
    known = build_similarity(1.7, 0.4, (0.3, 0.1), (5.0, -2.0))
    np.testing.assert_allclose(fit_similarity(points, apply_affine(known, points), np.ones(8)), known, atol=1e-12)


def test_eyes_come_to_their_place(still: TrackedFace) -> None:
    points = Aligner().update(still).to_crop(still.landmarks[:, :2])
    left, right = compute_eye_centres(points)
    np.testing.assert_allclose((left + right) / 2, EYES_PX, atol=1.5)
    assert measure_inter_ocular_px(points) == pytest.approx(EYE_DISTANCE_PX, rel=0.04)
    assert right[1] - left[1] == pytest.approx(0, abs=1)


def test_half_the_crop_is_half_the_scale(still: TrackedFace) -> None:
    whole, half = Aligner(128).update(still), Aligner(64).update(still)
    np.testing.assert_allclose(half.matrix, whole.matrix / 2)


def test_smoothing_starts_afresh_with_a_new_track(still: TrackedFace) -> None:
    aligner = Aligner()
    aligner.update(still)
    smoothed = aligner.update(_shift_face(still, (0.3, 0), Fraction(2, 25)))
    fresh = Aligner().update(_shift_face(still, (20, 0), Fraction(3, 25), track=1))
    assert np.abs(smoothed.matrix - Aligner().update(_shift_face(still, (0.3, 0), Fraction(0))).matrix).max() > 0.01
    np.testing.assert_allclose(
        aligner.update(_shift_face(still, (20, 0), Fraction(3, 25), track=1)).matrix, fresh.matrix, atol=1e-9
    )


def test_an_absent_face_cannot_be_aligned(still: TrackedFace) -> None:
    absent = TrackedFace(
        index=3, time_s=Fraction(0), valid=False, track=0, cut=False, score=0, box=None, landmarks=np.zeros((0, 3))
    )  # fmt: skip
    with pytest.raises(ValueError, match="frame 3"):
        Aligner().update(absent)


def _compute_errors(detector: BlazeFaceMesh, portrait: U8, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute crop positions [n 2 2] of the eyes' middle and mouth, and their true ones, in inter-ocular distances."""
    anchors, eye_px, zoom = np.array([[224.0, 107.0], [224.0, 149.0]]), 42.0, 1.5
    tracker, aligner = FaceTracker(detector), Aligner()
    seen, true = [], []
    rng = np.random.default_rng(0)
    for i, (x, y, angle, log_zoom) in enumerate(moves):
        to = (240 + x * eye_px * zoom, 180 + y * eye_px * zoom)
        matrix = build_similarity(zoom * math.exp(log_zoom), angle, FACE_CENTRE, to)
        noisy = warp(portrait, matrix, 480, 360) + rng.normal(0, 2, (360, 480, 3))
        face = tracker.update(ArrayPicture(np.clip(noisy, 0, 255).astype(np.uint8)), Fraction(i, 25), i)
        seen.append(aligner.update(face).to_crop(apply_affine(matrix, anchors)) / EYE_DISTANCE_PX)
        true.append(apply_affine(matrix, anchors) / (eye_px * zoom))
    return np.array(seen), np.array(true)


@pytest.mark.parametrize("motion", ["rest", "shift", "turn", "zoom"])
def test_alignment_is_steady_and_prompt(detector: BlazeFaceMesh, portrait: U8, motion: str) -> None:
    """Jitter below 0.5 % and lag below 1 % of the eye distance under known motions of a noisy still."""
    t = np.arange(50) / 25
    moves = np.zeros((50, 4))
    wave = np.sin(2 * np.pi * 0.5 * t)
    if motion == "shift":
        moves[:, 0] = 0.4 * wave
    elif motion == "turn":
        moves[:, 2] = math.radians(10) * wave
    elif motion == "zoom":
        moves[:, 3] = math.log(1.15) * wave
    seen, true = _compute_errors(detector, portrait, moves)
    off = (seen - seen.mean(axis=0))[3:]
    speed = np.gradient(true, 1 / 25, axis=0)[3:]
    lag_s = -float((speed * off).sum() / max((speed**2).sum(), 1e-12)) if motion != "rest" else 0.0
    jitter = float(np.sqrt((np.diff(off, 2, axis=0) ** 2).sum(axis=-1).mean() / 12))
    assert jitter < 0.005
    assert abs(lag_s) * np.hypot(*speed.reshape(-1, 2).T).max() < 0.01


def test_crop_replicates_the_frame_edge(still: TrackedFace, portrait: U8) -> None:
    x, y = portrait.shape[1] // 2, 0
    matrix = build_similarity(1.0, 0.0, (x, y), (64.0, 64.0))
    image = sample_crop(ArrayPicture(portrait), CropTransform(matrix=matrix, size_px=128))
    np.testing.assert_array_equal(image[:62], np.broadcast_to(image[62], (62, 128, 3)))
    assert np.abs(image[64:].astype(int) - portrait[:64, x - 64 : x + 64]).mean() < 1


def test_a_crop_beyond_the_frame_has_its_edge_colour(portrait: U8) -> None:
    flat = np.full((40, 40, 3), 90, np.uint8)
    matrix = build_similarity(1.0, 0.3, (500.0, -300.0), (64.0, 64.0))
    assert (sample_crop(ArrayPicture(flat), CropTransform(matrix=matrix, size_px=128)) == 90).all()


def test_minifying_is_anti_aliased() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 200
    small = sample(ArrayPicture(stripes), build_similarity(0.2, 0.0, (256, 256), (40, 40)), 80, 80)
    assert np.abs(small.astype(int) - 100).max() <= 15  # unfiltered: 100


@pytest.mark.parametrize("scale", [0.21, 0.5, 0.8, 1.0, 2.0, 4.0])
def test_resampling_keeps_places(scale: float) -> None:
    """A blob's centre of mass lands where the matrix says, whichever filter is used."""
    y, x = np.mgrid[:200, :200] + 0.5
    sigma = 8.0
    blob = 250 * np.exp(-((x - 97.3) ** 2 + (y - 104.6) ** 2) / (2 * sigma**2))
    rgb = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
    matrix = build_similarity(scale, 0.3, (100.0, 100.0), (128.0, 128.0))
    out = sample(ArrayPicture(rgb), matrix, 256, 256)[..., 0].astype(float)
    v, u = np.mgrid[:256, :256] + 0.5
    centre = ((u * out).sum() / out.sum(), (v * out).sum() / out.sum())
    np.testing.assert_allclose(centre, apply_affine(matrix, np.array([[97.3, 104.6]]))[0], atol=0.1)


class _Counting(ArrayPicture):
    """Records the boxes that were read."""

    def __init__(self, rgb: U8) -> None:
        super().__init__(rgb)
        self.boxes: list[Box | None] = []

    def rgb(self, box: Box | None = None, blocks: int = 1) -> U8:
        self.boxes.append(box)
        return super().rgb(box, blocks)


def test_only_the_region_is_converted(still: TrackedFace, portrait: U8) -> None:
    large = background(1920, 1080, 1)
    picture = _Counting(large)
    transform = CropTransform(matrix=build_similarity(1.0, 0.0, (900.0, 500.0), (64.0, 64.0)), size_px=128)
    sample_crop(picture, transform)
    (box,) = picture.boxes
    assert box is not None
    assert box.width * box.height < 150 * 150


def test_inverse_is_the_inverse() -> None:
    matrix = build_similarity(0.7, 1.1, (30.0, 40.0), (5.0, 6.0))
    points = np.random.default_rng(2).normal(size=(5, 2)) * 50
    np.testing.assert_allclose(apply_affine(invert_affine(matrix), apply_affine(matrix, points)), points, atol=1e-9)


def test_mouth_measures(still: TrackedFace) -> None:
    """She smiles broadly, teeth showing; shrinking the picture changes neither number."""
    assert 0.1 < measure_mouth_opening(still.landmarks) < 0.5
    assert 0.9 < measure_mouth_width(still.landmarks) < 1.5
    assert measure_mouth_opening(still.landmarks / 3) == pytest.approx(measure_mouth_opening(still.landmarks), rel=1e-4)


@pytest.mark.corpus
@pytest.mark.parametrize("speaker", SPEAKERS)
def test_mouth_and_chin_lie_in_the_lower_half(detector: BlazeFaceMesh, speaker: str) -> None:
    if not GRID.is_dir():
        pytest.skip(f"the corpus is not at {GRID}")
    aligner = Aligner()
    for face in run(FaceTracker(detector), list(grid_frames(speaker, every=3))):
        assert face.valid
        points = aligner.update(face).to_crop(face.landmarks[:, :2])
        mouth = points[[*MOUTH_OUTER, *MOUTH_INNER]]
        assert mouth[:, 1].min() > 66
        assert 98 < points[CHIN, 1] < 120
        assert points[:, 0].min() > 4
        assert points[:, 0].max() < 124


def test_a_turned_head_keeps_its_size(still: TrackedFace) -> None:
    """Turning the mesh in space by 40 degrees narrows the eyes' distance in the picture but not the pose's size."""
    points = still.landmarks.astype(np.float64)
    c, s = math.cos(math.radians(40)), math.sin(math.radians(40))
    turned = points @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    assert measure_inter_ocular_px(turned) < 0.9 * measure_inter_ocular_px(points)
    assert estimate_pose(turned)[0] == pytest.approx(estimate_pose(points)[0], rel=1e-6)
