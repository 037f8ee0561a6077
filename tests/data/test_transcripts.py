"""The text of samples of new and of older prepared folders."""

from typing import Any

import pytest

from cals.data.transcripts import find_transcript

CLIP = {"clip": "s1/bbaf3s", "start_frame": 0, "frames": 75}
TIMED = [(0.4, 0.6, "bin"), (0.6, 0.9, "red")]


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (CLIP | {"text": "as it is", "words": TIMED}, "as it is"),
        (CLIP | {"text": "", "words": []}, ""),
        (CLIP | {"words": TIMED}, "bin red"),
        (CLIP | {"text": None, "words": None}, "bin blue at f three soon"),
        (CLIP, "bin blue at f three soon"),
        (CLIP | {"start_frame": 12, "frames": 63}, None),  # who knows how much of it
        (CLIP | {"frames": 40}, None),
        (CLIP | {"clip": "anna/one"}, None),
        ({"clip": "bbaf3s", "start_frame": 0, "frames": 74}, "bin blue at f three soon"),
    ],
)
def test_what_is_known_best_comes_first(facts: dict[str, Any], text: str | None) -> None:
    assert find_transcript(facts) == text
