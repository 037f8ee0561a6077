"""Frame k gets the unit of its own time, its own track's reference, and a prior that hides the mouth."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from cals.inference.stream import GENERATED, NO_FACE, TrackedFrame, View, generated, tracked
from cals.inference.windows import UnitTrack
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.models.lips import LipConfig, LipModel
from cals.types import CropTransform, TrackedFace

SIZE = 64
SHIFT = 20  # units start so bright, so that none is lost to rounding at black


class Painter(LipModel):
    """Paints the whole crop in the grey that its unit names, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.config = LipConfig(crop_px=SIZE)
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.references: list[Tensor] = []
        self.priors: list[Tensor] = []

    def units(self, mel: Tensor) -> Tensor:
        raise AssertionError("units come from the track in these tests")

    def render(self, units: Tensor, reference: Tensor, prior: Tensor) -> Tensor:
        self.references += list(reference)
        self.priors += list(prior)
        return (units[:, :, None, None] / 255).expand(-1, 3, SIZE, SIZE)


def ramp() -> UnitTrack:
    """Unit k is the number k + SHIFT."""
    return UnitTrack(torch.arange(i, i + 7, dtype=torch.float32)[:, None] + SHIFT for i in range(0, 10**6, 7))


def items(rate: Fraction, count: int, gap: range = range(0), tracks: tuple[int, ...] = ()) -> Iterator[TrackedFrame]:
    """Grey frames whose whole picture is the crop; frame k of track n is of grey 100 + n."""
    identity = CropTransform(np.array([[1.0, 0, 0], [0, 1, 0]]), SIZE)
    for k in range(count):
        track = tracks[k] if tracks else 0
        rgb = np.full((SIZE, SIZE, 3), 100 + track, np.uint8)
        frame = Frame(from_rgb(rgb), k, k / rate, 1 / rate)
        valid = k not in gap
        face = TrackedFace(k, k / rate, valid, track, False, 1.0, None, np.zeros((0, 3), np.float32))
        yield TrackedFrame(frame, face, View(identity, rgb, np.ones((SIZE, SIZE), np.float32)) if valid else None)


def grey(frame: Frame) -> float:
    return float(frame.rgb()[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4].mean())


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_at_the_models_own_rate_frame_k_gets_unit_k(batch: int) -> None:
    # 24 levels is as far as colour matching may pull a crop towards its frame; so far from the frame it gives up
    done = list(generated(items(Fraction(25), 60), ramp(), Painter(), batch))
    found = np.array([grey(d.frame) for d in done])
    assert [d.frame.index for d in done] == list(range(60))
    steps = np.diff(found[:40])
    assert steps == pytest.approx(np.ones(39), abs=1.1)
    assert np.polyfit(np.arange(40), found[:40], 1)[0] == pytest.approx(1.0, abs=0.1)


class Listener(Painter):
    """Notes the units it is asked to draw."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def render(self, units: Tensor, reference: Tensor, prior: Tensor) -> Tensor:
        self.asked += (units[:, 0] - SHIFT).tolist()
        return super().render(units, reference, prior)


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(50)])
def test_units_are_read_at_the_middle_of_every_frame(rate: Fraction) -> None:
    model = Listener()
    list(generated(items(rate, 50), ramp(), model, 8))
    expected = [max(0.0, float((k + Fraction(1, 2)) / rate * 25 - Fraction(1, 2))) for k in range(50)]
    assert model.asked == pytest.approx(expected, abs=1e-4)
    if rate == 25:
        assert model.asked == pytest.approx(list(range(50)))


def test_units_go_on_in_time_over_a_gap() -> None:
    model = Listener()
    list(generated(items(Fraction(25), 40, gap=range(10, 30)), ramp(), model, 4))
    assert model.asked == pytest.approx([*range(10), *range(30, 40)])


def test_gap_pixels_are_the_originals_and_fading_reaches_the_pixels() -> None:
    original = list(items(Fraction(25), 40, gap=range(18, 22)))
    done = list(generated(iter(original), ramp(), Painter(), 8))
    for before, after in zip(original, done, strict=True):
        if before.face.valid:
            assert after.status == GENERATED
            continue
        assert after.status == NO_FACE
        assert after.frame is before.frame
    change = [abs(grey(d.frame) - 100) for d in done]
    assert change[5] > 20
    assert change[13] > change[15] > change[17] > 0  # out, towards the gap
    assert change[22] < change[24]  # and in again


def test_every_track_has_its_own_reference_and_the_prior_hides_the_lower_half() -> None:
    model = Painter()
    tracks = (0,) * 5 + (1,) * 5 + (2,) * 5
    list(generated(items(Fraction(25), 15, tracks=tracks), ramp(), model, 4))
    assert [round(float(r.mean() * 255)) - 100 for r in model.references] == list(tracks)
    for prior in model.priors:
        assert (prior[:, SIZE // 2 :] == 0).all()
        assert (prior[:, : SIZE // 2] > 0.3).all()


class Counting:
    """Stands in for a tracker: never a face, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def update(self, picture: object, time_s: Fraction, index: int) -> TrackedFace:
        self.asked += 1
        return TrackedFace(index, time_s, False, 0, index == 0, 0.0, None, np.zeros((0, 3), np.float32))


def test_a_still_is_looked_at_once() -> None:
    picture = from_rgb(np.zeros((32, 32, 3), np.uint8))
    frames = [Frame(picture, k, Fraction(k, 25), Fraction(1, 25)) for k in range(9)]
    tracker = Counting()
    seen = list(tracked(frames, tracker, SIZE))  # type: ignore[arg-type]
    assert tracker.asked == 1
    assert [(item.face.index, item.face.time_s) for item in seen] == [(k, Fraction(k, 25)) for k in range(9)]
    assert [item.face.cut for item in seen] == [True] + [False] * 8
