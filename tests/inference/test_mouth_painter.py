"""Mouths drawn over a video are those that the sound says, from the person's own other frames."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import drawn_face
from cals.face.detector import Detection, FaceDetector
from cals.face.landmarks import CHIN, MOUTH_OUTER
from cals.face.picture import ArrayPicture
from cals.face.read_back import read_back
from cals.face.skip_reasons import OCCLUDED
from cals.inference.frame_tracker import TrackedFrame, View
from cals.inference.mouth_blend import MouthBlend
from cals.inference.mouth_painter import MouthPainter
from cals.inference.schedule import Schedule, Span
from cals.inference.stream import NO_SEGMENT, Role, generate_frames
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.models.cals import MeshLips
from cals.models.lips import MIN_REFERENCE_GAP_S
from cals.models.mesh import FaceMesh
from cals.types import F32, U8, Box, CropTransform, Patch, Picture, TrackedFace
from drawn_person import mesh_lips, opening_by


class NoDetector:
    """Where nothing is to be detected."""

    def detect(self, rgb: U8) -> list[Detection]:
        raise AssertionError

    def predict_mesh(self, rgb: U8) -> tuple[F32, float]:
        raise AssertionError


class BrightSpot(NoDetector):
    """Sees all points where the picture is white."""

    def predict_mesh(self, rgb: U8) -> tuple[F32, float]:
        rows, columns = np.nonzero((rgb > 250).all(axis=2))
        return np.tile(np.float32([columns.mean() + 0.5, rows.mean() + 0.5, 0]), (468, 1)), 1.0


IDENTITY = CropTransform(np.eye(2, 3), 128)
VIDEO_OPENING = np.clip(5 + 6 * np.sin(np.arange(80) / 2.1), 0, 12)
"""How far the mouth is open in each frame of the video."""
SPEECH_OPENING = np.clip(4 + 6 * np.sin(np.arange(80) / 3.3 + 2), 0, None)
"""And how far the sound says."""


@pytest.fixture
def lips(mesh: FaceMesh) -> MeshLips:
    """A model whose units are openings in pixels."""
    model = mesh_lips(mesh)
    model.decoder.head = nn.Sequential(nn.Linear(1, len(mesh.basis), bias=False))
    with torch.no_grad():
        model.decoder.head[0].weight.copy_(opening_by(mesh, 1.0)[:, None])
    return model


def iterate_units(openings: np.ndarray) -> Iterator[Tensor]:
    """Yield blocks of a second of units; silence follows them."""
    for first in range(0, len(openings), 25):
        yield torch.from_numpy(openings[first : first + 25]).float()[:, None]
    yield from itertools.repeat(torch.zeros(25, 1))


def draw_video(openings: np.ndarray, track: int = 0, first: int = 0, seed: int = 0) -> list[TrackedFrame]:
    """Draw a video whose whole frame is the crop; an opening of NaN is a frame without a face."""
    items = []
    for k, opening in enumerate(openings, start=first):
        valid = bool(np.isfinite(opening))
        points = drawn_face.points(float(opening) if valid else 0.0)
        crop = drawn_face.picture(points, seed)
        frame = Frame(from_rgb(crop), k, Fraction(k, 25), Fraction(1, 25))
        face = TrackedFace(k, frame.time_s, valid, track, k == 0, 1.0, None, points)
        items.append(TrackedFrame(frame, face, View(IDENTITY, crop, points, (128, 128)) if valid else None))
    return items


def measure_opening(rgb: U8) -> float:
    """Measure the mean height of what is neither lip nor skin in the middle of the mouth: the dark, and teeth."""
    part = rgb[80:112, 58:71].astype(int)
    return float(((part.max(axis=2) < 90) | (part.min(axis=2) > 185)).sum() / part.shape[1])


def paint(painter: MouthPainter, items: list[TrackedFrame], batch: int = 8) -> list[U8]:
    return [lip_frame.frame.rgb() for lip_frame in generate_frames([Role(items, painter)], batch)]


@pytest.mark.parametrize("batch", [1, 8])
def test_the_mouth_does_what_is_told_whatever_it_did(lips: MeshLips, batch: int) -> None:
    video = draw_video(VIDEO_OPENING)
    opening = np.array(
        [measure_opening(rgb) for rgb in paint(MouthPainter(lips, iterate_units(SPEECH_OPENING), video), video, batch)]
    )
    assert np.corrcoef(opening[:72], SPEECH_OPENING[:72])[0, 1] > 0.95
    assert abs(np.corrcoef(opening[:72], VIDEO_OPENING[:72])[0, 1]) < 0.5
    assert opening[SPEECH_OPENING < 0.1].max() < 2  # a line between the lips
    assert opening.max() > 6


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30_000, 1001)])
def test_mouths_of_a_late_segment_are_those_of_the_whole_video(lips: MeshLips, rate: Fraction) -> None:
    video = draw_video(VIDEO_OPENING)
    frames = [item.frame.with_time(k, k / rate, 1 / rate) for k, item in enumerate(video)]
    items = [
        TrackedFrame(frame, replace(item.face, time_s=frame.time_s), item.view)
        for item, frame in zip(video, frames, strict=True)
    ]
    schedule = Schedule([Span(start_s=Fraction(8, 5), end_s=Fraction(2))])
    painter = MouthPainter(lips, iterate_units(SPEECH_OPENING), video, schedule)
    role = Role(items, painter, {NO_SEGMENT: schedule.compute_weight})
    part = [lip_frame.frame for lip_frame in generate_frames([role], 8)]
    whole = paint(MouthPainter(lips, iterate_units(SPEECH_OPENING), video), items)
    for k, frame in enumerate(part):
        inside = Fraction(8, 5) <= k / rate < 2
        assert inside or frame is items[k].frame
    middle = next(k for k in range(len(part)) if k / rate > Fraction(9, 5))
    assert abs(measure_opening(part[middle].rgb()) - measure_opening(whole[middle])) < 1.5


def test_what_is_outside_the_lower_face_is_the_videos(lips: MeshLips) -> None:
    video = draw_video(VIDEO_OPENING[:20])
    drawn = paint(MouthPainter(lips, iterate_units(SPEECH_OPENING), video), video)
    for item, rgb in zip(video, drawn, strict=True):
        assert np.abs(rgb[:50].astype(int) - item.frame.rgb()[:50]).max() <= 1


def test_no_frame_lends_itself_its_mouth(lips: MeshLips, monkeypatch: pytest.MonkeyPatch) -> None:
    video = draw_video(VIDEO_OPENING)
    painter = MouthPainter(lips, iterate_units(SPEECH_OPENING), video)
    distances_s: list[float] = []
    choose = painter._choose

    def spy(bank, batch, *rest):  # type: ignore[no-untyped-def]
        sources = choose(bank, batch, *rest)
        distances_s.extend(
            abs(float(bank._arrays.times_s[source]) - float(item.frame.source_s))
            for (item, _), source in zip(batch, sources, strict=True)
        )
        return sources

    monkeypatch.setattr(painter, "_choose", spy)
    paint(painter, video)
    assert len(distances_s) == len(video)
    assert min(distances_s) >= MIN_REFERENCE_GAP_S - 1e-3


@pytest.mark.parametrize(("strength", "share"), [(0.5, 0.5), (1.4, 1.4)])
def test_strength_scales_the_motion(lips: MeshLips, strength: float, share: float) -> None:
    video, target = draw_video(VIDEO_OPENING), 0.7 * SPEECH_OPENING
    expected, scaled = (
        np.array(
            [measure_opening(rgb) for rgb in paint(MouthPainter(lips, iterate_units(target), video, scale), video)]
        )
        for scale in (1.0, strength)
    )
    is_open = expected > 3
    assert is_open.sum() > 10
    assert scaled[is_open].mean() / expected[is_open].mean() == pytest.approx(share, rel=0.2)


def test_one_source_goes_over_into_the_next(lips: MeshLips) -> None:
    video = draw_video(VIDEO_OPENING[:40])
    painter = MouthPainter(lips, iterate_units(SPEECH_OPENING), video)
    batch = [(item, item.view) for item in video[:10] if item.view is not None]
    bank = painter._bank(0, batch, found_again=False)
    blends = painter._blend_sources(bank, batch, [20, 21, 21, 5, 6, 7, 8, 9, 9, 9])
    assert blends[:3] == [([20], [1.0]), ([21], [1.0]), ([21], [1.0])]  # the video itself goes on
    assert [sources for sources, _ in blends[3:6]] == [[5, 21], [6, 21], [7]]
    weights = [of[0] for _, of in blends[3:]]
    assert 0 < weights[0] < weights[1] < weights[2] == 1
    assert all(sum(of) == pytest.approx(1) for _, of in blends)


def test_two_mouths_are_never_seen_in_one(lips: MeshLips) -> None:
    video = draw_video(VIDEO_OPENING[:40])
    painter = MouthPainter(lips, iterate_units(SPEECH_OPENING), video)
    pair = [(item, item.view) for item in video[:1] if item.view is not None]
    bank, landmarks = painter._bank(0, pair, found_again=False), pair[0][1].landmarks
    sources = [bank.sources[i] for i in (5, 20)]
    blend = MouthBlend(*pair[0], sources, bank.landmarks[[5, 20]], [0.5, 0.5])
    first, second = blend._compute_shares(landmarks)
    assert np.allclose(first + second, 1)
    x, y = landmarks[list(MOUTH_OUTER), :2].mean(axis=0).astype(int)
    assert second[y, x] < 0.25
    assert second[int(landmarks[CHIN, 1]), int(landmarks[CHIN, 0])] == 0.5


def test_a_face_that_reads_as_another_is_set_right(lips: MeshLips, monkeypatch: pytest.MonkeyPatch) -> None:
    video = draw_video(VIDEO_OPENING)

    def detect_wrongly(drawing: MouthBlend, detector: FaceDetector, target: Tensor, flows: list[F32]) -> Tensor:
        mesh, rest = lips.decoder.mesh, torch.from_numpy(drawn_face.points(0.0))
        return mesh.add_motion(target[None], rest, opening_by(mesh, -2.0)[None])[0]

    monkeypatch.setattr(MouthBlend, "detect_landmarks", detect_wrongly)
    uncorrected, corrected = (
        np.array(
            [
                measure_opening(rgb)
                for rgb in paint(MouthPainter(lips, iterate_units(SPEECH_OPENING), video, detector=detector), video)
            ]
        )
        for detector in (None, NoDetector())
    )
    is_open = (uncorrected > 3) & (uncorrected < 7)
    assert is_open.sum() > 10
    assert 0.8 < (corrected - uncorrected)[is_open].mean() < 2.0


def test_a_face_is_read_as_it_is_drawn() -> None:
    """Whatever the picture's size: what is drawn into it is what the mesh sees, and where."""
    points = drawn_face.points(4.0)
    rgb = np.repeat(np.repeat(drawn_face.picture(points, 0), 3, axis=0), 3, axis=1)
    transform = CropTransform(np.array([[1 / 3, 0, 0], [0, 1 / 3, 0]]), 128)

    def render(picture: Picture, placement: CropTransform) -> Patch:
        centre = placement.to_frame(np.array([[64.0, 96.0]]))[0].astype(int)
        box = Box(*(centre - 3), *(centre + 3))
        return Patch(box=box, rgb=np.full((6, 6, 3), 255, np.uint8), alpha=np.ones((6, 6), np.float32))

    landmarks = read_back(BrightSpot(), ArrayPicture(rgb), points * 3, transform, render)
    np.testing.assert_allclose(landmarks[:, :2].mean(axis=0), (64, 96), atol=1)


def test_a_photo_smiles_in_silence_and_speaks(lips: MeshLips) -> None:
    (photo,) = draw_video(np.array([3.0]))
    frames = [
        TrackedFrame(photo.frame.with_time(k, Fraction(k, 25), Fraction(1, 25)), photo.face, photo.view)
        for k in range(50)
    ]
    target = np.concatenate([np.zeros(25), np.clip(5 * np.sin(np.arange(25) / 3), 0, None)])
    pictures = paint(MouthPainter(lips, iterate_units(target), []), frames)
    assert np.abs(pictures[3].astype(int) - photo.frame.rgb()).max() <= 2
    opening = np.array([measure_opening(rgb) for rgb in pictures])
    assert opening[target > 4].mean() > opening[3] + 3
    assert opening[30:][target[30:] == 0].max() < opening[3]  # amid speech lips meet


def test_each_track_speaks_with_its_own_mouths(lips: MeshLips) -> None:
    first, second = draw_video(VIDEO_OPENING[:20]), draw_video(VIDEO_OPENING[20:40], track=1, first=20, seed=4)
    painter = MouthPainter(lips, iterate_units(SPEECH_OPENING), first)
    drawn = paint(painter, first + second)
    assert list(painter._banks) == [1]
    assert len(painter._banks[1].sources) == 20
    errors = [
        np.abs(rgb[95:120].astype(int) - drawn_face.picture(drawn_face.points(4.0), seed)[95:120]).mean()
        for rgb, seed in ((drawn[5], 0), (drawn[30], 4))
    ]
    assert max(errors) < 12


@pytest.mark.parametrize("cut", [False, True])
def test_whoever_is_found_again_is_known_unless_there_was_a_cut(lips: MeshLips, cut: bool) -> None:
    gap = np.full(5, np.nan)
    first, faceless, returning = (
        draw_video(VIDEO_OPENING[:20]),
        draw_video(gap, first=20),
        draw_video(VIDEO_OPENING[25:40], track=1, first=25),
    )
    if cut:
        object.__setattr__(returning[0].face, "cut", True)
    painter = MouthPainter(lips, iterate_units(SPEECH_OPENING), first)
    bank = painter._banks[0]
    pictures = paint(painter, first + faceless + returning)
    assert len(pictures) == 40
    for k in range(20, 25):
        np.testing.assert_array_equal(pictures[k], faceless[k - 20].frame.rgb())
    assert (painter._banks[1] is bank) != cut
    assert len(painter._banks[1].sources) == (15 if cut else 35)


@torch.inference_mode()
def test_an_unsure_voice_is_delivered_as_far_as_the_average_one(lips: MeshLips) -> None:
    opening_px = float(lips.decoder.opening_px)
    target = np.tile(np.clip(np.random.default_rng(0).normal(1, 1, 100), 0, None), 3)
    target = target / target.std() * opening_px
    gains = [MouthPainter(lips, iterate_units(scale * target), [])._gain.value for scale in (1.0, 0.7, 0.01)]
    assert gains[0] == pytest.approx(1, abs=0.05)
    assert gains[1] == pytest.approx(1 / 0.7, abs=0.1)
    assert gains[2] == 1  # noise is not raised to speech
    video = draw_video(VIDEO_OPENING[:30])
    batch = [(item, item.view) for item in video if item.view is not None]
    painters = [MouthPainter(lips, iterate_units(scale * target), video) for scale in (1.0, 0.7)]
    full, faint = (painter._predict(painter._bank(0, batch, False), batch)[0] for painter in painters)
    torch.testing.assert_close(faint, full, atol=0.05, rtol=0.05)


def test_a_covered_mouth_is_lent_to_nobody(lips: MeshLips) -> None:
    """Neither are those right before and after it, which may be covered a little."""
    frames = draw_video(VIDEO_OPENING[:40])
    for item in frames[15:20]:
        object.__setattr__(item.face, "skip_reason", OCCLUDED)  # and drawn over, for it keeps its view
    painter = MouthPainter(lips, iterate_units(SPEECH_OPENING), frames)
    assert len(paint(painter, frames)) == 40
    indices = painter._banks[0]._arrays.times_s * 25
    assert not any(10 < k < 24 for k in np.rint(indices).astype(int).tolist())
    assert len(indices) >= 25


def test_of_open_mouths_that_with_the_look_of_the_sound_is_taken(mesh: FaceMesh) -> None:
    """Check with mouths of one shape, whose inside is now dark, now bright."""
    model = mesh_lips(mesh, appearance=1)
    model.decoder.appearance_basis.fill_(-0.06)  # how dark a patch is, about 1 on average
    head = nn.Linear(1, len(mesh.basis) + 1)
    with torch.no_grad():
        head.weight.zero_()
        head.weight[:-1, 0] = opening_by(mesh, 0.2)
        head.weight[-1] = 1.0
        head.bias.copy_(torch.cat([opening_by(mesh, float(model.decoder.opening_px)), torch.zeros(1)]))
    model.decoder.head = nn.Sequential(head)
    look = 1.4 * np.sin(np.arange(80) / 3.3)
    video = []
    for item, shade in zip(draw_video(np.full(80, 8.0)), 70 + 60 * np.sin(np.arange(80) / 2.1), strict=True):
        crop = item.frame.rgb().copy()
        crop[88:98, 56:73] = shade
        assert item.view is not None
        frame = Frame(from_rgb(crop), item.frame.index, item.frame.time_s, item.frame.duration_s)
        video.append(TrackedFrame(frame, item.face, replace(item.view, crop=crop)))
    drawn = [rgb[90:96, 58:71].mean() for rgb in paint(MouthPainter(model, iterate_units(look), video), video)]
    assert np.corrcoef(drawn, -look)[0, 1] > 0.8
    assert np.ptp(drawn) > 60
    with torch.no_grad():
        head.bias.zero_()
        head.weight[:-1].zero_()  # nobody speaks: the mouth at rest is shown, whatever its predicted look
    drawn = [rgb[90:96, 58:71].mean() for rgb in paint(MouthPainter(model, iterate_units(look), video), video)]
    assert np.ptp(drawn) < 30
