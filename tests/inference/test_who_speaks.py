"""The person whose lips fit the sound speaks."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from cals import hub
from cals.errors import DataError, MediaError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.inference.dub_segments import DubSegment
from cals.inference.sync_encoders import load_encoders
from cals.inference.who_speaks import (
    LipDistances,
    assign_speakers,
    build_turn_segments,
    count_people,
    measure_lip_distances,
)
from cals.media.source import VideoSource

EXAMPLES = Path(__file__).parents[2] / "examples"
FPS, SECONDS, SWITCH_S, FAR, NEAR = 25, 12, 7, 1.2, 1.05


def build_distances(offset: int = 1, hidden: range = range(0)) -> LipDistances:
    """Person 1 speaks until `SWITCH_S`, then person 2; the sound is `offset` frames out of step."""
    rng = np.random.default_rng(0)
    distances = {person: rng.normal(FAR, 0.05, (SECONDS * FPS, 31)) for person in (1, 2)}
    switch = SWITCH_S * FPS
    distances[1][:switch, 15 + offset] -= FAR - NEAR
    distances[2][switch:, 15 + offset] -= FAR - NEAR
    for person in distances:
        distances[person][hidden] = np.nan
    return LipDistances(fps=FPS, distances=distances)


def segment(start_s: int, end_s: int, person: str | int | None = None) -> DubSegment:
    return DubSegment(start_s=Fraction(start_s), end_s=Fraction(end_s), person=person)


@pytest.mark.parametrize("offset", [-3, 0, 3])
def test_segments_go_to_the_person_who_fits(offset: int) -> None:
    lips = build_distances(offset)
    segments = [
        segment(0, 2, "Ann"),
        segment(2, 4),
        segment(5, 6, "right"),
        segment(8, 9, "Bob"),
        segment(10, 11, "Bob"),
    ]
    assigned, matches = assign_speakers(segments, {}, lips)
    assert [item.person for item in assigned] == [1, 1, "right", 2, 2]
    assert [(match.name, match.person, match.is_sure) for match in matches] == [
        ("Ann", 1, True), ("2.00-4.00 s", 1, True), ("Bob", 2, True)
    ]  # fmt: skip
    assert matches[0].line().startswith("Ann: person 1 (LSE-C 1: 0.1")


def test_names_that_are_given_stay() -> None:
    assigned, matches = assign_speakers([segment(0, 2, "Ann")], {"Ann": 2}, build_distances())
    assert assigned[0].person == "Ann"
    assert not matches


def test_a_sound_that_fits_nobody_is_uncertain() -> None:
    _, (match,) = assign_speakers([segment(0, 2)], {}, build_distances(offset=9))
    assert not match.is_sure
    assert "uncertain" in match.line()


def test_a_segment_in_which_nobody_is_seen_is_an_error() -> None:
    lips = build_distances(hidden=range(75))
    with pytest.raises(DataError, match=r"expected a face whose lips can be compared, found none while 0\.00-3\.00 s"):
        assign_speakers([segment(0, 3)], {}, lips)
    assert assign_speakers([segment(0, 5)], {}, lips)[0][0].person == 1


def test_a_conversation_is_divided_into_turns() -> None:
    segments, matches = build_turn_segments(build_distances(hidden=range(50, 60)), Fraction(1199, 100))
    assert [item.person for item in segments] == [1, 2]
    assert segments[0].start_s == 0
    assert segments[-1].end_s == Fraction(1199, 100)  # that of the video
    assert abs(segments[0].end_s - SWITCH_S) < 0.5
    assert [match.person for match in matches] == [1, 2]


def test_a_real_video_has_one_person_and_a_photo_no_sound() -> None:
    detector, encoders = BlazeFaceMesh(FaceModels(*hub.read_face_models(None))), load_encoders()
    source = VideoSource(EXAMPLES / "grid-s20.mp4")
    assert count_people(source, detector) == 1
    if source.has_audio:
        lips = measure_lip_distances(source, encoders, detector)
        assert list(lips.distances) == [1]
        assert lips.match("all", [(Fraction(0), Fraction(9))]) is not None
    with pytest.raises(MediaError, match="expected a video with the sound of its speakers"):
        measure_lip_distances(VideoSource(EXAMPLES / "astronaut.jpg"), encoders, detector)


def test_streams_of_embeddings_leave_no_mode_behind() -> None:
    encoders = load_encoders()
    streams = [encoders.audio(np.zeros((4, 16_000), np.float32)) for _ in range(2)]
    for stream in streams:
        next(stream)
    assert not torch.is_inference_mode_enabled()
