"""The text of a prepared sample."""

from collections.abc import Mapping
from typing import Any

from cals.data.sources.grid import spell_sentence

GRID_FRAMES = 74
"""Frames from the first one on that contain all the speech of a GRID clip, which has 75."""


def find_transcript(facts: Mapping[str, Any]) -> str | None:
    """Return the text of a sample from its facts, in lower case; None where it is not known.

    Folders prepared by older versions have no `text`, or none for GRID clips without an alignment. The text is then
    that of the sample's words, or the sentence that the clip's name abbreviates if the sample is the whole clip.
    """
    text, words = facts.get("text"), facts.get("words")
    if text is not None:
        return str(text)
    if words is not None:
        return " ".join(str(word[2]) for word in words)
    is_whole = facts.get("start_frame") == 0 and int(facts.get("frames", 0)) >= GRID_FRAMES
    return spell_sentence(str(facts.get("clip", "")).rpartition("/")[2]) if is_whole else None
