"""What is said in a prepared sample."""

from collections.abc import Mapping
from typing import Any

from cals.data.sources.grid import spell_sentence

GRID_FRAMES = 74
"""Frames from the first one on that hold all of a GRID clip's 75 that anything is said in."""


def transcript(facts: Mapping[str, Any]) -> str | None:
    """Give the text of a sample from its facts, in lower case; None where it is not known.

    Folders prepared by older versions have no `text`, or none of GRID's clips without an alignment: then it is the
    words of the stretch, or the sentence that the clip's name abbreviates, if the stretch is the whole clip.
    """
    text, words = facts.get("text"), facts.get("words")
    if text is not None:
        return str(text)
    if words is not None:
        return " ".join(str(word[2]) for word in words)
    whole = facts.get("start_frame") == 0 and int(facts.get("frames", 0)) >= GRID_FRAMES
    return spell_sentence(str(facts.get("clip", "")).rpartition("/")[2]) if whole else None
