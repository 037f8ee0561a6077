"""Looking ahead costs nothing twice, and changes nothing."""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest

import drawn_face
from cals.face.mask import build_lower_face_mask
from cals.face.skip_reasons import OCCLUDED, TOO_SMALL
from cals.inference import frame_tracker as module
from cals.inference.frame_tracker import FrameTracker, TrackedFrame
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.types import TrackedFace


class Swaying:
    """Stands in for a tracker: a face that sways and speaks, absent in every tenth frame; counts its calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def update(self, picture: object, time_s: Fraction, index: int) -> TrackedFace:
        self.calls.append(index)
        landmarks = 2 * drawn_face.points(float(index % 5)) + (20 * np.sin(index / 4), 5, 0)
        valid = index % 10 != 9
        points = landmarks.astype(np.float32) if valid else np.zeros((0, 3), np.float32)
        return TrackedFace(index, time_s, valid, index // 10, index == 0, 1.0, None, points)


def draw_video(count: int) -> Iterator[Frame]:
    """Yield frames of 25 a second, each a new object."""
    for k in range(count):
        yield Frame(from_rgb(np.full((300, 320, 3), k, np.uint8)), k, Fraction(k, 25), Fraction(1, 25))


def check_equal(one: list[TrackedFrame], other: list[TrackedFrame]) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a.face.index, a.face.time_s, a.face.track, a.face.cut) == (
            b.face.index,
            b.face.time_s,
            b.face.track,
            b.face.cut,
        )
        assert (a.view is None) == (b.view is None)
        if a.view is not None and b.view is not None:
            np.testing.assert_array_equal(a.view.landmarks, b.view.landmarks)
            np.testing.assert_array_equal(a.view.transform.matrix, b.view.transform.matrix)
            np.testing.assert_array_equal(a.view.crop, b.view.crop)


def test_no_frame_is_tracked_twice_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(FrameTracker(Swaying(), 128).track(draw_video(40)))  # type: ignore[arg-type]
    tracker = Swaying()
    follower = FrameTracker(tracker, 128)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "MAX_LOOK_AHEAD_S", 1)
    ahead = list(follower.look_ahead(draw_video(40)))
    assert [item.face.index for item in ahead] == list(range(26))
    frames = list(draw_video(40))
    items = list(follower.track(iter(frames)))
    assert tracker.calls == list(range(40))
    assert [item.frame for item in items] == frames  # whose pixels are patched, not those that were looked at
    check_equal(items, expected)
    check_equal(ahead, expected[:26])


def test_a_look_ahead_may_stop_early(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Swaying()
    follower = FrameTracker(tracker, 128)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "MAX_LOOK_AHEAD_FRAMES", 7)
    assert len(list(follower.look_ahead(draw_video(40)))) == 7
    assert len(list(follower.track(draw_video(12)))) == 12
    assert tracker.calls == list(range(12))


def test_frames_shown_at_another_time_are_recalled_by_their_own() -> None:
    follower = FrameTracker(Swaying(), 128)  # type: ignore[arg-type]
    ahead = list(follower.look_ahead(draw_video(5)))
    shifted = (frame.with_time(frame.index + 50, frame.time_s + 2, frame.duration_s) for frame in draw_video(5))
    items = list(follower.track(shifted))
    assert [(item.face.index, item.face.time_s) for item in items] == [(50 + k, 2 + Fraction(k, 25)) for k in range(5)]
    assert [item.view for item in items] == [item.view for item in ahead]


def test_frames_in_another_order_are_refused() -> None:
    follower = FrameTracker(Swaying(), 128)  # type: ignore[arg-type]
    list(follower.look_ahead(draw_video(5)))
    with pytest.raises(ValueError, match="look ahead: expected the frame of 0 s, found that of 1/25 s"):
        list(follower.track(list(draw_video(5))[1:]))


def test_masks_are_those_of_the_landmarks_and_made_once() -> None:
    (item,) = FrameTracker(Swaying(), 128).track(draw_video(1))  # type: ignore[arg-type]
    assert item.view is not None
    mask = item.view.mask
    np.testing.assert_array_equal(mask, build_lower_face_mask(item.view.landmarks, item.view.transform, 320, 300))
    assert item.view.mask is mask


@pytest.mark.parametrize("covered", [None, "keep", "draw"])
def test_a_covered_mouth_has_a_view_only_to_be_drawn_over(
    monkeypatch: pytest.MonkeyPatch, covered: Literal["keep", "draw"] | None
) -> None:
    monkeypatch.setattr(
        module.OcclusionDetector, "update", lambda self, crop, landmarks, time_s, cut: time_s * 25 in (2, 3)
    )
    items = list(FrameTracker(Swaying(), 128, covered=covered).track(draw_video(6)))  # type: ignore[arg-type]
    hindrances = [item.face.skip_reason for item in items]
    assert hindrances == [None, None, *([None] * 2 if covered is None else [OCCLUDED] * 2), None, None]
    assert [item.view is None for item in items] == [False] * 2 + [covered == "keep"] * 2 + [False] * 2


def test_what_speaks_against_drawing_matters_only_there() -> None:
    class Small(Swaying):
        def update(self, picture: object, time_s: Fraction, index: int) -> TrackedFace:
            return dataclasses.replace(super().update(picture, time_s, index), skip_reason=TOO_SMALL)

    (without_policy,) = FrameTracker(Small(), 128).track(draw_video(1))  # type: ignore[arg-type]
    (with_policy,) = FrameTracker(Small(), 128, covered="draw").track(draw_video(1))  # type: ignore[arg-type]
    assert without_policy.view is not None
    assert with_policy.view is None
