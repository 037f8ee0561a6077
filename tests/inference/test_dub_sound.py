"""Segments with their voices: placed in the video, cut where they have to be, reported, and mixed."""

import json
import logging
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from cals.errors import ConfigError, DataError, MediaError
from cals.inference.dub_segments import DubSegment, load_segments
from cals.inference.dub_sound import PlacedSegment, open_dub_sound, place_segments
from cals.options import FitPolicy
from drawing import tones, write_wav

RATE = 16_000
END_S = Fraction(8)


def write_dub(folder: Path) -> list[DubSegment]:
    """Write voices of 1, 2.4 and 1.5 s for segments of 2, 2 and 1 s; the first and the last are of one person."""
    for name, seconds in (("1", 1.0), ("2", 2.4), ("3", 1.5)):
        write_wav(folder / f"{name}.wav", 0.4 * tones(seconds, RATE))
    path = folder / "dub.csv"
    path.write_text("start,end,person\n1,3,2\n3.5,5.5,Anna\n5.75,6.75,2\n")
    return load_segments(path, folder)


def plan(folder: Path, policy: FitPolicy, duration_s: Fraction = END_S) -> list[PlacedSegment]:
    return place_segments(write_dub(folder), policy, duration_s)


@pytest.mark.parametrize(
    ("policy", "ends", "changes"),
    [
        ("stretch", [2, 5.5, 6.75], ["as it is", "played 1.20 times as fast", "played 1.50 times as fast"]),
        ("cut", [2, 5.5, 6.75], ["as it is", "its last 0.400 s cut", "its last 0.500 s cut"]),
        ("spill", [2, 5.9, 7.25], ["as it is", "going on until 5.900 s", "going on until 7.250 s"]),
    ],
)
def test_what_is_done_is_reported(tmp_path: Path, policy: FitPolicy, ends: list[float], changes: list[str]) -> None:
    placed = plan(tmp_path, policy)
    assert [float(item.placement.end_s) for item in placed] == ends
    assert [item.end_s for item in placed] == [max(item.segment.end_s, item.placement.end_s) for item in placed]
    places = ["2: 1.000 to 3.000 s, a voice of 1.000 s", "3: 3.500 to 5.500 s, a voice of 2.400 s"]
    places.append("4: 5.750 to 6.750 s, a voice of 1.500 s")
    lines = [f"{tmp_path / 'dub.csv'}, line {place}, {change}" for place, change in zip(places, changes, strict=True)]
    assert [item.line() for item in placed] == lines
    document = json.loads(json.dumps([item.document() for item in placed]))
    assert [entry["voice_end_s"] for entry in document] == ends
    assert [(entry["person"], entry["voice_s"]) for entry in document] == [(2, 1.0), ("Anna", 2.4), (2, 1.5)]


def test_a_voice_goes_on_until_the_same_person_speaks_again_or_the_video_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dub(tmp_path)
    path = tmp_path / "dub.csv"
    path.write_text("start,end,person,audio\n1,2,Anna,2.wav\n2.5,3,2,1.wav\n3,3.5,Anna,1.wav\n7.5,7.75,2,1.wav\n")
    placed = place_segments(load_segments(path), "spill", END_S)
    assert [float(item.placement.end_s) for item in placed] == [3, 3.5, 4, 8]
    assert [float(item.placement.lost_s) for item in placed] == [0.4, 0, 0, 0.5]
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert messages == [placed[0].line(), placed[3].line()]
    assert messages[0].endswith("a voice of 2.400 s, going on until 3.000 s, its last 0.400 s cut")


def test_words_that_are_lost_in_spite_of_stretching_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_dub(tmp_path)
    path = tmp_path / "dub.csv"
    path.write_text("start,end,audio\n1,2,2.wav\n")
    (placed,) = place_segments(load_segments(path), "stretch", END_S)
    assert placed.line().endswith("played 1.50 times as fast, its last 0.900 s cut")
    assert [record.getMessage() for record in caplog.records] == [placed.line()]


def test_voices_that_are_missing_broken_or_late_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 4: expected times within the video \(6\.000 s\)"):
        plan(tmp_path, "cut", Fraction(6))
    segments = write_dub(tmp_path)
    (tmp_path / "2.wav").write_bytes(b"no sound")
    with pytest.raises(MediaError, match=r"2\.wav"):
        place_segments(segments, "cut", END_S)
    with pytest.raises(DataError, match=r"line 2: expected a voice file for the segment, found none"):
        place_segments(load_segments(tmp_path / "dub.csv"), "cut", END_S)


def test_the_sound_is_the_original_around_the_voices(tmp_path: Path) -> None:
    placed = plan(tmp_path, "spill")
    original = tones(8.0, RATE)
    bed = write_wav(tmp_path / "bed.wav", original)
    with closing(open_dub_sound(bed, placed)) as mixed:
        sound = mixed.read(10 * RATE)
    assert sound.shape == original.shape
    kept = np.ones(8 * RATE, bool)
    for item in placed:
        kept[round(item.segment.start_s * RATE) : round(item.end_s * RATE)] = False
    assert kept.sum() == round((1 + 0.5 + 0.75) * RATE)
    assert np.array_equal(sound[:, kept], original[:, kept])
    voice = 0.4 * tones(2.4, RATE)
    both = slice(round(5.75 * RATE), round(5.9 * RATE))  # until Anna has ended, person 2 speaks too
    third = 0.4 * tones(1.5, RATE)[:, : both.stop - both.start]
    assert np.abs(sound[:, both] - voice[:, -third.shape[1] :] - third).max() < 1e-6
    with closing(open_dub_sound(None, placed)) as alone:
        voices = alone.read(10 * RATE)
    assert voices.shape[1] == round(7.25 * RATE)
    assert np.abs(voices[:, both] - sound[:, both]).max() < 1e-6
    assert not voices[:, kept[: voices.shape[1]]].any()
    with pytest.raises(ConfigError, match="background_gain"):
        open_dub_sound(bed, placed, background_gain=-1)
