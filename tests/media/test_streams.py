"""Which streams a file has, and in which order, changes nothing of what is read of each."""

from fractions import Fraction

import numpy as np
import pytest

from cals.errors import ConfigError
from cals.media import VideoReader, VideoWriter, fit_length, load_mono, probe
from drawing import index_of, tones, write_tracks, write_video

REORDERED = {"preset": "medium", "bf": "3"}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize("count", [1, 2, 75])
def test_no_picture_is_lost_where_sound_is_the_first_stream(tmp_path, suffix, count):
    sound = tones(count / 25, 48_000)
    path = write_video(tmp_path / f"a{suffix}", frames=count, options=REORDERED, sound=sound, sound_first=True)
    with VideoReader(path) as reader:
        assert [index_of(frame.rgb()) for frame in reader] == list(range(count))


def test_the_last_pictures_come_back_when_sound_first_is_played_backwards(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=75, options=REORDERED, sound=tones(3.0, 48_000), sound_first=True)
    shown = [index_of(frame.rgb()) for frame in fit_length(path, "bounce", Fraction(6))]
    assert shown == [*range(75), *range(73, -1, -1), 1]


def loud(level):
    return level * np.sin(np.arange(48_000) / 20)[None].astype(np.float32)


def measure_level(wave):
    return np.sqrt(2 * np.mean(np.square(wave)))


TRACKS = [
    (loud(0.1), {"language": "eng", "title": "Music"}),
    (loud(0.5), {"language": "fra"}),
    (np.tile(loud(0.3), (2, 1)), {"language": "deu"}),
]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("wanted", "level"), [(None, 0.1), (1, 0.1), ("2", 0.5), ("FRA", 0.5), ("fr", 0.5), (3, 0.3), ("de", 0.3)]
)
def test_one_of_several_sound_tracks_is_chosen(tmp_path, suffix, wanted, level, caplog):
    path = write_tracks(tmp_path / f"a{suffix}", TRACKS)
    channels = probe(path, track=wanted).channels
    assert channels == (2 if level == 0.3 else 1)
    said = [record.getMessage() for record in caplog.records]
    title = "" if suffix == ".mp4" else ", Music"
    assert said == [
        f"{path}: 3 sound tracks: 1 (aac mono, eng{title}), 2 (aac mono, fra), 3 (aac stereo, deu); "
        "taking 1 (generate --audio-track takes another)"
    ] * (wanted is None)
    assert measure_level(load_mono(path, track=wanted)) == pytest.approx(level, rel=0.1)
    with (
        VideoReader(path) as reader,
        VideoWriter(tmp_path / "out.mp4", reader.format, audio=path, audio_track=wanted) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    assert probe(tmp_path / "out.mp4").channels == channels
    assert measure_level(load_mono(tmp_path / "out.mp4")) == pytest.approx(level, rel=0.1)


@pytest.mark.parametrize("wanted", [0, 4, "ita", ""])
def test_a_sound_track_that_is_not_there(tmp_path, wanted):
    path = write_tracks(tmp_path / "a.mkv", TRACKS)
    with pytest.raises(ConfigError, match=rf"3 sound tracks: 1 \(aac mono, eng, Music\), .* found '{wanted}'"):
        probe(path, track=wanted)
