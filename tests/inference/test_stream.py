"""Frame k gets the unit of its own time, its own track's gallery and its own face."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

import drawn_face
from cals.face.landmarks import compute_eye_centres
from cals.inference import painters
from cals.inference.crop_painter import CropPainter
from cals.inference.frame_tracker import TrackedFrame, View, track_and_align
from cals.inference.stream import GENERATED, NO_FACE, SILENCE, LipFrame, Role, generate_frames
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.models.lips import Faces, Gallery, LipConfig, LipModel
from cals.types import F32, CropTransform, TrackedFace

SIZE = 64
SHIFT = 20  # units start so bright, so that none is lost to rounding at black


class Greys(LipModel):
    """Paints the whole crop in the grey that its unit names, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.config = LipConfig(crop_px=SIZE)
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.faces: list[Faces] = []
        self.galleries: list[Gallery] = []

    def predict_units(self, mel: Tensor) -> Tensor:
        raise AssertionError("units come from the track in these tests")

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        self.faces.append(faces)
        self.galleries.append(gallery)
        return (units[:, :, None, None] / 255).expand(-1, 3, SIZE, SIZE)


class WholeView(View):
    """All of the crop is replaced."""

    mask = np.ones((SIZE, SIZE), np.float32)  # type: ignore[assignment]


def iterate_units() -> Iterator[Tensor]:
    """Yield units; unit k is the number k + SHIFT."""
    return (torch.arange(i, i + 7, dtype=torch.float32)[:, None] + SHIFT for i in range(0, 10**6, 7))


def generate(
    frames: Iterable[TrackedFrame], model: LipModel, batch: int, ahead: Iterable[TrackedFrame] = ()
) -> Iterator[LipFrame]:
    return generate_frames([Role(frames, CropPainter(model, iterate_units(), ahead))], batch)


def draw_points(first: float = 0.0) -> F32:
    """Draw landmarks that are identified by their point number 0."""
    landmarks = drawn_face.points().copy()
    landmarks[0, 0] = first
    return landmarks


def draw_items(
    rate: Fraction, count: int, gap: range = range(0), tracks: tuple[int, ...] = ()
) -> Iterator[TrackedFrame]:
    """Yield grey frames whose whole picture is the crop; frame k of track n is of grey 100 + n."""
    identity = CropTransform(np.array([[1.0, 0, 0], [0, 1, 0]]), SIZE)
    for k in range(count):
        track = tracks[k] if tracks else 0
        rgb = np.full((SIZE, SIZE, 3), 100 + track, np.uint8)
        frame = Frame(from_rgb(rgb), k, k / rate, 1 / rate)
        valid = k not in gap
        face = TrackedFace(k, k / rate, valid, track, False, 1.0, None, np.zeros((0, 3), np.float32))
        view = WholeView(identity, rgb, draw_points(float(k)), (SIZE, SIZE))
        yield TrackedFrame(frame, face, view if valid else None)


def measure_grey(frame: Frame) -> float:
    return float(frame.rgb()[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4].mean())


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_at_the_models_own_rate_frame_k_gets_unit_k(batch: int) -> None:
    # 24 levels is as far as colour matching may pull a crop towards its frame; so far from the frame it gives up
    output = list(generate(draw_items(Fraction(25), 60), Greys(), batch))
    greys = np.array([measure_grey(lip_frame.frame) for lip_frame in output])
    assert [lip_frame.frame.index for lip_frame in output] == list(range(60))
    steps = np.diff(greys[:40])
    assert steps == pytest.approx(np.ones(39), abs=1.1)
    assert np.polyfit(np.arange(40), greys[:40], 1)[0] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("frames_of_memory", "most"), [(100, 8), (3, 3), (0, 1)])
def test_large_frames_are_drawn_in_smaller_batches(
    monkeypatch: pytest.MonkeyPatch, frames_of_memory: int, most: int
) -> None:
    monkeypatch.setattr(painters, "BATCH_BYTES", frames_of_memory * SIZE * SIZE * 3 // 2)
    model = Greys()
    assert [lip_frame.frame.index for lip_frame in generate(draw_items(Fraction(25), 20), model, 8)] == list(range(20))
    assert max(len(faces.crops) for faces in model.faces) == most


class Listener(Greys):
    """Notes the units it is asked to draw."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[float] = []

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        self.calls += (units[:, 0] - SHIFT).tolist()
        return super().render(units, faces, gallery)


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(50)])
def test_units_are_read_at_the_middle_of_every_frame(rate: Fraction) -> None:
    model = Listener()
    list(generate(draw_items(rate, 50), model, 8))
    expected = [max(0.0, float((k + Fraction(1, 2)) / rate * 25 - Fraction(1, 2))) for k in range(50)]
    assert model.calls == pytest.approx(expected, abs=1e-4)
    if rate == 25:
        assert model.calls == pytest.approx(list(range(50)))


def test_units_go_on_in_time_over_a_gap() -> None:
    model = Listener()
    list(generate(draw_items(Fraction(25), 40, gap=range(10, 30)), model, 4))
    assert model.calls == pytest.approx([*range(10), *range(30, 40)])


def test_gap_pixels_are_the_originals_and_fading_reaches_the_pixels() -> None:
    original = list(draw_items(Fraction(25), 40, gap=range(18, 22)))
    output = list(generate(iter(original), Greys(), 8))
    for before, after in zip(original, output, strict=True):
        if before.face.valid:
            assert after.status == GENERATED
            continue
        assert after.status == NO_FACE
        assert after.frame is before.frame
    change = [abs(measure_grey(lip_frame.frame) - 100) for lip_frame in output]
    assert change[5] > 20
    assert change[13] > change[15] > change[17] > 0  # out, towards the gap
    assert change[22] < change[24]  # and in again


def test_a_face_that_is_not_drawn_says_why_and_is_faded_around() -> None:
    covered = [
        replace(item, face=replace(item.face, skip_reason="covered"), view=None) if 18 <= k < 22 else item
        for k, item in enumerate(draw_items(Fraction(25), 40))
    ]
    output = list(generate(iter(covered), Greys(), 8))
    assert [lip_frame.status for lip_frame in output] == [GENERATED] * 18 + ["covered"] * 4 + [GENERATED] * 18
    assert all(lip_frame.frame is item.frame for lip_frame, item in zip(output[18:22], covered[18:22], strict=True))
    assert output[5].strength > output[15].strength > output[17].strength > output[18].strength == 0


@pytest.mark.parametrize("batch", [1, 8])
def test_frames_of_weight_0_pass_through_unrendered_and_others_are_scaled(batch: int) -> None:
    original, model = list(draw_items(Fraction(25), 40, gap=range(30, 32))), Listener()

    def weigh(start_s: Fraction, end_s: Fraction) -> float:
        assert end_s - start_s == Fraction(1, 25)
        return 0.0 if 10 <= start_s * 25 < 20 else 0.5

    output = list(
        generate_frames([Role(iter(original), CropPainter(model, iterate_units(), ()), {SILENCE: weigh})], batch)
    )
    assert [lip_frame.status for lip_frame in output[8:32]] == [
        *[GENERATED] * 2, *[SILENCE] * 10, *[GENERATED] * 10, *[NO_FACE] * 2
    ]  # fmt: skip
    assert all(output[k].frame is original[k].frame and output[k].face.valid for k in range(10, 20))
    assert [output[k].strength for k in (9, 10, 20)] == [0.5, 0.0, 0.5]  # no fade but that of the weight
    assert 0 < output[29].strength < output[20].strength  # and that of the gap
    assert model.calls == pytest.approx([*range(10), *range(20, 30), *range(32, 40)])


def test_every_face_comes_with_its_own_time_and_landmarks() -> None:
    model = Greys()
    list(generate(draw_items(Fraction(25), 20, gap=range(5, 8)), model, 6))
    indices = [k for k in range(20) if k not in range(5, 8)]
    assert torch.cat([faces.times_s for faces in model.faces]).tolist() == pytest.approx([k / 25 for k in indices])
    assert torch.cat([faces.landmarks[:, 0, 0] for faces in model.faces]).tolist() == [float(k) for k in indices]
    assert all(faces.crops.shape[1:] == (3, SIZE, SIZE) for faces in model.faces)


def test_a_track_nobody_looked_at_makes_do_with_its_own_frames() -> None:
    model = Greys()
    tracks = (0,) * 5 + (1,) * 5 + (2,) * 5
    output = generate(draw_items(Fraction(25), 15, tracks=tracks), model, 4)
    assert len(list(output)) == 15
    for faces, references in zip(model.faces, model.galleries, strict=True):
        assert len(references.observed_landmarks) <= 5
        assert float(references.crops.mean()) == pytest.approx(float(faces.crops.mean()))  # a grey for every track
        assert float(references.times_s[0]) == pytest.approx(tracks[round(float(faces.times_s[0]) * 25)] * 5 / 25)


def test_what_was_looked_at_before_serves_its_own_track_only() -> None:
    model = Greys()
    tracks = (0,) * 6 + (1,) * 6
    list(generate(draw_items(Fraction(25), 12, tracks=tracks), model, 4, ahead=draw_items(Fraction(25), 30)))
    counts = [len(references.observed_landmarks) for references in model.galleries]
    by_track = [tracks[round(float(faces.times_s[0]) * 25)] for faces in model.faces]
    assert all((count == 30) == (track == 0) for count, track in zip(counts, by_track, strict=True))
    assert set(by_track) == {0, 1}


class Counting:
    """Stands in for a tracker: never a face, and counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def update(self, picture: object, time_s: Fraction, index: int) -> TrackedFace:
        self.calls += 1
        return TrackedFace(index, time_s, False, 0, index == 0, 0.0, None, np.zeros((0, 3), np.float32))


def test_a_still_is_looked_at_once() -> None:
    picture = from_rgb(np.zeros((32, 32, 3), np.uint8))
    frames = [Frame(picture, k, Fraction(k, 25), Fraction(1, 25)) for k in range(9)]
    tracker = Counting()
    tracked_frames = list(track_and_align(frames, tracker, SIZE))  # type: ignore[arg-type]
    assert tracker.calls == 1
    assert [(item.face.index, item.face.time_s) for item in tracked_frames] == [(k, Fraction(k, 25)) for k in range(9)]
    assert [item.face.cut for item in tracked_frames] == [True] + [False] * 8


class Fixed:
    """Stands in for a tracker: finds the drawn face, `large` times as large as in a crop, wherever it looks."""

    def __init__(self, large: float) -> None:
        self.large = large

    def update(self, picture: object, time_s: Fraction, index: int) -> TrackedFace:
        landmarks = self.large * drawn_face.points(5.0)
        return TrackedFace(index, time_s, True, 0, index == 0, 1.0, None, landmarks.astype(np.float32))


def test_views_hold_landmarks_in_crop_pixels() -> None:
    frame = Frame(from_rgb(np.zeros((400, 400, 3), np.uint8)), 0, Fraction(0), Fraction(1, 25))
    (item,) = track_and_align([frame], Fixed(3.0), 128)  # type: ignore[arg-type]
    assert item.view is not None
    assert item.view.landmarks.shape == (468, 3)
    assert item.view.landmarks.dtype == np.float32
    left, right = compute_eye_centres(item.view.landmarks)
    assert (left + right) / 2 == pytest.approx(np.array([64, 34]), abs=2)
    back = item.view.transform.to_frame(item.view.landmarks[:, :2])
    assert back == pytest.approx(item.face.landmarks[:, :2], abs=1e-3)
    assert item.view.landmarks[:, 2] / item.face.landmarks[:, 2] == pytest.approx(item.view.transform.scale, rel=1e-3)
