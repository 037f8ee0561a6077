"""Which streams a file has, and in which order, changes nothing of what is read of each."""

from fractions import Fraction

import pytest

from cals.media import VideoReader, lengthened
from drawing import index_of, tones, write_video

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
    shown = [index_of(frame.rgb()) for frame in lengthened(path, "bounce", Fraction(6))]
    assert shown == [*range(75), *range(73, -1, -1), 1]
