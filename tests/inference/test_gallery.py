"""Who is looked at, for how long, and which frames are kept."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import torch

import drawn_face
from cals.face.landmarks import measure_mouth_opening
from cals.inference.crop_painter import CropPainter
from cals.inference.frame_tracker import TrackedFrame, View
from cals.inference.gallery import MAX_GALLERY_S, GalleryCache, build_galleries, build_gallery, stack_crops
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.models.debug import DebugConfig, DebugLips
from cals.models.lips import MIN_REFERENCE_GAP_S, Gallery
from cals.models.mesh import measure_lip_gap
from cals.types import CropTransform, TrackedFace

FACES = [drawn_face.points(float(opening)) for opening in range(13)]
BLANK = np.zeros((8, 8, 3), np.uint8)


def draw_view(opening_px: int) -> View:
    crop = np.full((8, 8, 3), opening_px, np.uint8)
    identity = CropTransform(np.array([[1.0, 0, 0], [0, 1, 0]]), 8)
    return View(identity, crop, FACES[opening_px], (8, 8))


def draw_speech(frames: int, seed: int = 0) -> tuple[list[View], list[float]]:
    openings = np.random.default_rng(seed).integers(0, 13, frames)
    return [draw_view(int(opening)) for opening in openings], [k / 25 for k in range(frames)]


def find_usable(references: Gallery, time_s: float) -> list[int]:
    """Return the frames of the gallery that may be references for a frame of this time."""
    return torch.nonzero(references.is_far_from(torch.tensor([time_s]))[0]).flatten().tolist()


def test_quiet_first_open_last_and_all_of_them_seen() -> None:
    views, times_s = draw_speech(150)
    references = build_gallery(views, times_s)
    gaps = measure_lip_gap(references.landmarks)
    assert len(gaps) == 8
    openings = [measure_mouth_opening(each.landmarks) for each in views]
    assert float(gaps[0]) == float(measure_lip_gap(torch.from_numpy(views[int(np.argmin(openings))].landmarks)))
    assert float(gaps[-1]) == float(measure_lip_gap(torch.from_numpy(views[int(np.argmax(openings))].landmarks)))
    assert gaps.tolist() == sorted(gaps.tolist())
    assert references.observed_landmarks.shape == (150, 468, 3)
    for crop, landmarks, time_s in zip(references.crops, references.landmarks, references.times_s, strict=True):
        source = views[round(float(time_s) * 25)]
        assert torch.equal(crop[None], stack_crops([source.crop]))
        assert np.array_equal(landmarks.numpy(), source.landmarks)


def test_kept_frames_stand_apart_so_that_one_can_serve_another() -> None:
    times_s = [k / 25 for k in range(60)]
    views = [draw_view(12 - abs(k - 30) // 3) for k in range(60)]  # all open mouths in one place
    references = build_gallery(views, times_s)
    open_times_s = references.times_s[2:]
    assert len(open_times_s) > 2
    distances = (open_times_s[:, None] - open_times_s).abs() + 10 * torch.eye(len(open_times_s))
    assert float(distances.min()) >= 2 * MIN_REFERENCE_GAP_S - 1e-4
    for time_s in times_s:  # whatever the frame, there is an open mouth for it that is not its own
        usable = find_usable(references, time_s)
        assert all(abs(float(references.times_s[k]) - time_s) >= MIN_REFERENCE_GAP_S - 1e-3 for k in usable)
        assert float(measure_lip_gap(references.landmarks[usable]).max()) > 5


def test_a_photo_is_its_own_gallery() -> None:
    references = build_gallery([draw_view(5)], [0.0])
    assert len(references.crops) == len(references.observed_landmarks) == 1
    two = build_gallery([draw_view(5), draw_view(5)], [0.0, 0.04])
    assert len(set(two.times_s.tolist())) == len(two.times_s)


def iterate_forever(counter: list[int], tracks: int = 1, gap: int = 0) -> Iterator[TrackedFrame]:
    """Yield 25 frames a second without end; the person changes every 2 s, every `gap`-th frame has no face."""
    k = 0
    picture = from_rgb(BLANK)
    while True:
        counter[0] += 1
        valid = not gap or k % gap != 0
        face = TrackedFace(k, Fraction(k, 25), valid, k // 50 % tracks, False, 1.0, None, np.zeros((0, 3), np.float32))
        yield TrackedFrame(
            Frame(picture, k, Fraction(k, 25), Fraction(1, 25)), face, draw_view(k % 13) if valid else None
        )
        k += 1


def test_the_look_ahead_ends_however_long_the_video_is() -> None:
    counter = [0]
    painter = CropPainter(DebugLips(DebugConfig()), iter([torch.zeros(1, 16)]), iterate_forever(counter))
    assert counter[0] <= MAX_GALLERY_S * 25 + 2
    references = painter._galleries.update(0, [], found_again=False)
    assert len(references.observed_landmarks) == pytest.approx(MAX_GALLERY_S * 25, abs=1)
    assert float(references.times_s.max()) <= MAX_GALLERY_S


def test_every_person_has_a_gallery_of_their_own_and_frames_without_one_none() -> None:
    galleries = build_galleries(islice(iterate_forever([0], tracks=3, gap=5), 200))
    assert sorted(galleries) == [0, 1, 2]
    assert sum(len(references.observed_landmarks) for references in galleries.values()) == 160
    for track, references in galleries.items():
        assert {int(time_s / 2 + 1e-4) % 3 for time_s in references.times_s.tolist()} == {track}
    assert build_galleries(iter([])) == {}


def draw_pairs(track: int, start: int, count: int, later_s: int = 0) -> list[tuple[TrackedFrame, View]]:
    """Draw frames of a person whose mouth opens more and more, shown `later_s` after their own time."""
    pairs = []
    for k in range(start, start + count):
        frame = Frame(from_rgb(BLANK), k, Fraction(k, 25), Fraction(1, 25))
        frame = frame.with_time(k, frame.time_s + later_s, frame.duration_s)
        face = TrackedFace(k, frame.time_s, True, track, False, 1.0, None, np.zeros((0, 3), np.float32))
        face_view = draw_view(k % 13)
        pairs.append((TrackedFrame(frame, face, face_view), face_view))
    return pairs


def test_a_frame_shown_again_is_still_itself() -> None:
    references = build_gallery([seen for _, seen in draw_pairs(0, 0, 60)], [k / 25 for k in range(60)])
    frame = draw_pairs(0, int(references.times_s[-1] * 25), 1, later_s=7)[0][0].frame
    assert float(frame.time_s) != float(frame.source_s) == pytest.approx(float(references.times_s[-1]))
    assert len(references.times_s) - 1 not in find_usable(references, float(frame.source_s))
    assert len(references.times_s) - 1 in find_usable(references, float(frame.time_s))


def test_whoever_was_lost_and_found_is_known_but_not_whoever_comes_next() -> None:
    references = build_gallery(*draw_speech(50))
    galleries = GalleryCache({0: references})
    assert galleries.update(0, draw_pairs(0, 0, 8), found_again=False) is references
    assert galleries.update(1, draw_pairs(1, 20, 8), found_again=True) is references
    stranger = galleries.update(2, draw_pairs(2, 40, 8), found_again=False)
    assert len(stranger.observed_landmarks) == 8
    sizes = {
        len(galleries.update(2, draw_pairs(2, 48 + 8 * i, 8), found_again=False).observed_landmarks) for i in range(60)
    }
    assert 100 < max(sizes) <= 200 + 8  # 8 s of 25 frames
    assert len(sizes) < 10  # not made anew for every batch


def test_a_photo_stays_one_frame_however_long_it_is_shown() -> None:
    galleries = GalleryCache({})
    photo = draw_pairs(0, 0, 1) * 8
    assert all(len(galleries.update(0, photo, found_again=False).observed_landmarks) == 1 for _ in range(30))
