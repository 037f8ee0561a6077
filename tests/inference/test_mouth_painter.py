"""Mouths drawn over a video are those that the sound says, from the person's own other frames."""

import itertools
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import drawn_face
from cals.face.detector import Detection, FaceDetector
from cals.face.hindrance import COVERED
from cals.face.picture import ArrayPicture
from cals.face.read_back import read_back
from cals.inference.drawing import Drawing
from cals.inference.mouth_painter import MouthPainter
from cals.inference.stream import generate_frames
from cals.inference.tracked import TrackedFrame, View
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.models.lips import OWN_S
from cals.models.mesh import FaceMesh
from cals.models.speaking import MeshLips
from cals.types import F32, U8, Box, CropTransform, Patch, Picture, TrackedFace
from drawn_person import mesh_lips, opening_by


class NoDetector:
    """Where nothing is to be detected."""

    def detect(self, rgb: U8) -> list[Detection]:
        raise AssertionError

    def mesh(self, rgb: U8) -> tuple[F32, float]:
        raise AssertionError


class BrightSpot(NoDetector):
    """Sees all points where the picture is white."""

    def mesh(self, rgb: U8) -> tuple[F32, float]:
        rows, columns = np.nonzero((rgb > 250).all(axis=2))
        return np.tile(np.float32([columns.mean() + 0.5, rows.mean() + 0.5, 0]), (468, 1)), 1.0


AS_IT_IS = CropTransform(np.eye(2, 3), 128)
OWN = np.clip(5 + 6 * np.sin(np.arange(80) / 2.1), 0, 12)
"""How far the mouth is open in each frame of the video."""
TOLD = np.clip(4 + 6 * np.sin(np.arange(80) / 3.3 + 2), 0, None)
"""And how far the sound says."""


@pytest.fixture
def lips(mesh: FaceMesh) -> MeshLips:
    """A model whose units are openings in pixels."""
    model = mesh_lips(mesh)
    model.decoder.head = nn.Sequential(nn.Linear(1, len(mesh.basis), bias=False))
    with torch.no_grad():
        model.decoder.head[0].weight.copy_(opening_by(mesh, 1.0)[:, None])
    return model


def units(openings: np.ndarray) -> Iterator[Tensor]:
    """Blocks of a second of units; after the end silence."""
    for first in range(0, len(openings), 25):
        yield torch.from_numpy(openings[first : first + 25]).float()[:, None]
    yield from itertools.repeat(torch.zeros(25, 1))


def show(openings: np.ndarray, track: int = 0, first: int = 0, seed: int = 0) -> list[TrackedFrame]:
    """A video whose whole frame is the crop; NaN where nobody is seen."""
    items = []
    for k, opening in enumerate(openings, start=first):
        there = bool(np.isfinite(opening))
        points = drawn_face.points(float(opening) if there else 0.0)
        crop = drawn_face.picture(points, seed)
        frame = Frame(from_rgb(crop), k, Fraction(k, 25), Fraction(1, 25))
        face = TrackedFace(k, frame.time_s, there, track, k == 0, 1.0, None, points)
        items.append(TrackedFrame(frame, face, View(AS_IT_IS, crop, points, (128, 128)) if there else None))
    return items


def openness(rgb: U8) -> float:
    """Mean height of what is neither lip nor skin about the middle of the mouth: the dark, and teeth."""
    part = rgb[80:112, 58:71].astype(int)
    return float(((part.max(axis=2) < 90) | (part.min(axis=2) > 185)).sum() / part.shape[1])


def paint(painter: MouthPainter, items: list[TrackedFrame], batch: int = 8) -> list[U8]:
    return [done.frame.rgb() for done in generate_frames(items, painter, batch)]


@pytest.mark.parametrize("batch", [1, 8])
def test_the_mouth_does_what_is_told_whatever_it_did(lips: MeshLips, batch: int) -> None:
    video = show(OWN)
    drawn = np.array([openness(rgb) for rgb in paint(MouthPainter(lips, units(TOLD), video), video, batch)])
    assert np.corrcoef(drawn[:72], TOLD[:72])[0, 1] > 0.95
    assert abs(np.corrcoef(drawn[:72], OWN[:72])[0, 1]) < 0.5
    assert drawn[TOLD < 0.1].max() < 2  # a line between the lips
    assert drawn.max() > 6


def test_what_is_outside_the_lower_face_is_the_videos(lips: MeshLips) -> None:
    video = show(OWN[:20])
    drawn = paint(MouthPainter(lips, units(TOLD), video), video)
    for item, rgb in zip(video, drawn, strict=True):
        assert np.abs(rgb[:50].astype(int) - item.frame.rgb()[:50]).max() <= 1


def test_no_frame_lends_itself_its_mouth(lips: MeshLips, monkeypatch: pytest.MonkeyPatch) -> None:
    video = show(OWN)
    painter = MouthPainter(lips, units(TOLD), video)
    apart: list[float] = []
    choose = painter._choose

    def spy(bank, seen, *rest):  # type: ignore[no-untyped-def]
        path = choose(bank, seen, *rest)
        apart.extend(
            abs(float(bank._arrays.times_s[source]) - float(item.frame.source_s))
            for (item, _), source in zip(seen, path, strict=True)
        )
        return path

    monkeypatch.setattr(painter, "_choose", spy)
    paint(painter, video)
    assert len(apart) == len(video)
    assert min(apart) >= OWN_S - 1e-3


@pytest.mark.parametrize(("strength", "share"), [(0.5, 0.5), (1.4, 1.4)])
def test_strength_scales_the_motion(lips: MeshLips, strength: float, share: float) -> None:
    video, told = show(OWN), 0.7 * TOLD
    plain, scaled = (
        np.array([openness(rgb) for rgb in paint(MouthPainter(lips, units(told), video, by), video)])
        for by in (1.0, strength)
    )
    wide = plain > 3
    assert wide.sum() > 10
    assert scaled[wide].mean() / plain[wide].mean() == pytest.approx(share, rel=0.2)


def test_one_source_goes_over_into_the_next(lips: MeshLips) -> None:
    video = show(OWN[:40])
    painter = MouthPainter(lips, units(TOLD), video)
    seen = [(item, item.view) for item in video[:10] if item.view is not None]
    bank = painter._bank(0, seen, found_again=False)
    shares = painter._fade(bank, seen, [20, 21, 21, 5, 6, 7, 8, 9, 9, 9])
    assert shares[:3] == [([20], [1.0]), ([21], [1.0]), ([21], [1.0])]  # the video itself goes on
    assert [sources for sources, _ in shares[3:6]] == [[5, 21], [6, 21], [7]]
    new = [of[0] for _, of in shares[3:]]
    assert 0 < new[0] < new[1] < new[2] == 1
    assert all(sum(of) == pytest.approx(1) for _, of in shares)


def test_a_face_that_reads_as_another_is_set_right(lips: MeshLips, monkeypatch: pytest.MonkeyPatch) -> None:
    video = show(OWN)

    def misread(drawing: Drawing, detector: FaceDetector, target: Tensor, flows: list[F32]) -> Tensor:
        mesh, rest = lips.decoder.mesh, torch.from_numpy(drawn_face.points(0.0))
        return mesh.moved(target[None], rest, opening_by(mesh, -2.0)[None])[0]

    monkeypatch.setattr(Drawing, "read", misread)
    plain, corrected = (
        np.array([openness(rgb) for rgb in paint(MouthPainter(lips, units(TOLD), video, detector=by), video)])
        for by in (None, NoDetector())
    )
    wide = (plain > 3) & (plain < 7)
    assert wide.sum() > 10
    assert 0.8 < (corrected - plain)[wide].mean() < 2.0


def test_a_face_is_read_as_it_is_drawn() -> None:
    """Whatever the picture's size: what is drawn into it is what the mesh sees, and where."""
    points = drawn_face.points(4.0)
    rgb = np.repeat(np.repeat(drawn_face.picture(points, 0), 3, axis=0), 3, axis=1)
    transform = CropTransform(np.array([[1 / 3, 0, 0], [0, 1 / 3, 0]]), 128)

    def draw(picture: Picture, there: CropTransform) -> Patch:
        centre = there.to_frame(np.array([[64.0, 96.0]]))[0].astype(int)
        box = Box(*(centre - 3), *(centre + 3))
        return Patch(box=box, rgb=np.full((6, 6, 3), 255, np.uint8), alpha=np.ones((6, 6), np.float32))

    found = read_back(BrightSpot(), ArrayPicture(rgb), points * 3, transform, draw)
    np.testing.assert_allclose(found[:, :2].mean(axis=0), (64, 96), atol=1)


def test_a_photo_smiles_in_silence_and_speaks(lips: MeshLips) -> None:
    (photo,) = show(np.array([3.0]))
    frames = [
        TrackedFrame(photo.frame.retimed(k, Fraction(k, 25), Fraction(1, 25)), photo.face, photo.view)
        for k in range(50)
    ]
    told = np.concatenate([np.zeros(25), np.clip(5 * np.sin(np.arange(25) / 3), 0, None)])
    drawn = paint(MouthPainter(lips, units(told), []), frames)
    assert np.abs(drawn[3].astype(int) - photo.frame.rgb()).max() <= 2
    found = np.array([openness(rgb) for rgb in drawn])
    assert found[told > 4].mean() > found[3] + 3
    assert found[30:][told[30:] == 0].max() < found[3]  # amid speech lips meet


def test_each_track_speaks_with_its_own_mouths(lips: MeshLips) -> None:
    one, other = show(OWN[:20]), show(OWN[20:40], track=1, first=20, seed=4)
    painter = MouthPainter(lips, units(TOLD), one)
    drawn = paint(painter, one + other)
    assert list(painter._banks) == [1]
    assert len(painter._banks[1].sources) == 20
    own = [
        np.abs(rgb[95:120].astype(int) - drawn_face.picture(drawn_face.points(4.0), seed)[95:120]).mean()
        for rgb, seed in ((drawn[5], 0), (drawn[30], 4))
    ]
    assert max(own) < 12


@pytest.mark.parametrize("cut", [False, True])
def test_whoever_is_found_again_is_known_unless_there_was_a_cut(lips: MeshLips, cut: bool) -> None:
    gap = np.full(5, np.nan)
    first, nobody, again = show(OWN[:20]), show(gap, first=20), show(OWN[25:40], track=1, first=25)
    if cut:
        object.__setattr__(again[0].face, "cut", True)
    painter = MouthPainter(lips, units(TOLD), first)
    known = painter._banks[0]
    drawn = paint(painter, first + nobody + again)
    assert len(drawn) == 40
    for k in range(20, 25):
        np.testing.assert_array_equal(drawn[k], nobody[k - 20].frame.rgb())
    assert (painter._banks[1] is known) != cut
    assert len(painter._banks[1].sources) == (15 if cut else 35)


@torch.inference_mode()
def test_an_unsure_voice_is_delivered_as_far_as_the_average_one(lips: MeshLips) -> None:
    opening_px = float(lips.decoder.opening_px)
    told = np.tile(np.clip(np.random.default_rng(0).normal(1, 1, 100), 0, None), 3)
    told = told / told.std() * opening_px
    found = [MouthPainter(lips, units(share * told), [])._delivery for share in (1.0, 0.7, 0.01)]
    assert found[0] == pytest.approx(1, abs=0.05)
    assert found[1] == pytest.approx(1 / 0.7, abs=0.1)
    assert found[2] == 1  # noise is not raised to speech
    video = show(OWN[:30])
    seen = [(item, item.view) for item in video if item.view is not None]
    painters = [MouthPainter(lips, units(share * told), video) for share in (1.0, 0.7)]
    sure, unsure = (painter._motion(painter._bank(0, seen, False), seen)[0] for painter in painters)
    torch.testing.assert_close(unsure, sure, atol=0.05, rtol=0.05)


def test_a_covered_mouth_is_lent_to_nobody(lips: MeshLips) -> None:
    """Neither are those right before and after it, which may be covered a little."""
    frames = show(OWN[:40])
    for item in frames[15:20]:
        object.__setattr__(item.face, "hindrance", COVERED)  # and drawn over, for it keeps its view
    painter = MouthPainter(lips, units(TOLD), frames)
    assert len(paint(painter, frames)) == 40
    lent = painter._banks[0]._arrays.times_s * 25
    assert not any(10 < k < 24 for k in lent.round().int().tolist())
    assert len(lent) >= 25
