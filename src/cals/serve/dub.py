"""Dubs as jobs: a request's fields, with names that stand for files of the same job alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cals.errors import ConfigError
from cals.inference.dub_request import DubRequest, parse_cast, parse_pairs
from cals.inference.dub_voices import NamedVoices, find_duplicate
from cals.serve.config import refuse
from cals.serve.folders import VOICES
from cals.serve.inputs import find_input, find_voices
from cals.serve.multipart import MAX_FILES, Form

LIST_FIELDS = (VOICES, "speak", "cast")
"""Fields that may be several texts."""
DUB_FIELDS = ("segments", *LIST_FIELDS, "from", "to")
SEGMENT_SUFFIXES = (".json", ".csv", ".tsv", ".srt", ".vtt")
MAX_SEGMENTS_BYTES = 1 << 20


def build_dub_cells(values: Mapping[str, Any], form: Form, inputs: Path | None) -> dict[str, Any] | None:
    """Return what a request asks for in a form that JSON can hold, None if it is no dub.

    `values` are those of its fields that are not empty. RequestError for what cannot be one.
    """
    lists = {name: _read_texts(name, values.get(name, ())) for name in LIST_FIELDS}
    if not (form.voices or any(lists.values()) or "segments" in form.files or values.keys() & set(DUB_FIELDS)):
        return None
    voices = {name: str(path) for name, path in form.voices.items()}
    found = [pair for text in lists[VOICES] for pair in find_voices(VOICES, text, inputs)]
    duplicate = find_duplicate([*voices, *(name for name, _ in found)])
    if duplicate is not None:
        raise refuse(f"{VOICES}: expected files with names of their own, found {duplicate[:80]!r} twice; rename one")
    voices |= {name: str(path) for name, path in found}
    if len(voices) > MAX_FILES:
        raise refuse(f"{VOICES}: expected at most {MAX_FILES} files, found {len(voices)}; make several jobs of it")
    cells: dict[str, Any] = {name: str(values[name]) for name in ("from", "to") if name in values}
    segments = form.files.get("segments")
    if segments is None and "segments" in values:
        segments = find_input("segments", values["segments"], inputs)
    try:
        cells["speak"] = _read_speeches(lists["speak"], voices, inputs)
        cells["cast"] = parse_cast(lists["cast"])
    except ConfigError as error:
        raise refuse(str(error)) from error
    if segments is not None:
        _check_segments(segments)
        cells |= {"segments": str(segments), VOICES: voices}
    elif voices and not cells["speak"]:
        raise refuse(f"{VOICES}: expected what they are for, found none; send segments, or speak as PERSON=NAME")
    return cells


def build_dub_request(cells: Mapping[str, Any]) -> DubRequest:
    """Build what `build_dub_cells` described; ConfigError for parts that exclude each other."""
    return DubRequest(
        speak=tuple((person, Path(path)) for person, path in cells["speak"]),
        segments=Path(cells["segments"]) if "segments" in cells else None,
        voices={name: Path(path) for name, path in cells[VOICES].items()} if VOICES in cells else None,
        cast=cells["cast"],
        start=cells.get("from"),
        end=cells.get("to"),
    )


def _read_texts(name: str, value: Any) -> list[str]:
    """Return the texts of a field that may be one or several."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise refuse(f"{name}: expected a text or a list of texts, found {str(value)[:40]!r}; correct it")
    return [text for text in texts if text]


def _read_speeches(texts: Sequence[str], voices: Mapping[str, str], inputs: Path | None) -> list[tuple[str, str]]:
    """Return persons and paths of PERSON=AUDIO, which is one of `voices` or below the folder of inputs."""
    named = NamedVoices({name: Path(path) for name, path in voices.items()})
    pairs = parse_pairs("speak", texts, "PERSON=AUDIO")
    return [(person, str(named.find(Path(audio)) or find_input("speak", audio, inputs))) for person, audio in pairs]


def _check_segments(path: Path) -> None:
    """Raise RequestError unless a file is of a known kind and no larger than any that people write."""
    if path.suffix.lower() not in SEGMENT_SUFFIXES:
        raise refuse(f"segments: expected a file called {' or '.join(SEGMENT_SUFFIXES)}, found another; rename it")
    size = path.stat().st_size
    if size > MAX_SEGMENTS_BYTES:
        raise refuse(f"segments: expected at most {MAX_SEGMENTS_BYTES} bytes, found {size}; make several jobs of it")
