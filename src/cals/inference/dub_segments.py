"""Segments of a dub: who says what when, read from JSON, CSV or subtitles."""

import csv
import difflib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from cals.errors import ConfigError, DataError
from cals.inference.dub_voices import FolderVoices, NamedVoices, VoiceFiles, normalize_number
from cals.inference.subtitles import parse_time, read_cues, read_text
from cals.options import STRENGTH_RANGE, FitPolicy

KEYS = ("start", "end", "audio", "person", "speaker", "strength", "text")
"""Keys of a segment in JSON and columns in CSV; `speaker` is another word for `person`."""
_MAX_NAMED = 3
_SLACK_S = Fraction(1, 1000)
MAX_TIME_S = 10**9
"""Largest time that is taken for one, 31 years."""
"""Subtitles round to milliseconds, so that the last one may end this much after the video."""


@dataclass(frozen=True, kw_only=True)
class DubSegment:
    """A stretch of a video in which one person says something else; ConfigError for values out of range."""

    start_s: Fraction
    end_s: Fraction
    audio: Path | None = None
    """The voice, which starts at `start_s`; None where the file names none and no folder was given."""
    person: str | int | None = None
    """Whom it belongs to: a `--person` value, or a name that the file uses for one; None for the only one."""
    strength: float | None = None
    """Scale of the mouth's motion, None for that of the job."""
    text: str = ""
    track: str | int | None = None
    """Which of several sound tracks of `audio` is the voice, see `select_sound_track`."""
    fit: FitPolicy | None = None
    """What happens to a voice that is longer; None for what the job says."""
    source: str = field(default="", compare=False)
    """File and line, for messages."""

    def __post_init__(self) -> None:
        if self.start_s < 0:
            raise ConfigError(f"start: expected 0 or more, found {float(self.start_s):g}")
        if self.end_s <= self.start_s:
            raise ConfigError(
                f"end: expected a time after the start ({_format_s(self.start_s)}), found {_format_s(self.end_s)}"
            )
        low, high = STRENGTH_RANGE
        if self.strength is not None and not low <= self.strength <= high:
            raise ConfigError(f"strength: expected {low} to {high}, found {self.strength:g}")


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A segment as read, and what its voice file may be called."""

    segment: DubSegment
    name: str


def load_segments(path: str | Path, audio_dir: str | Path | Mapping[str, Path] | None = None) -> list[DubSegment]:
    """Load the segments of a .json, .csv, .tsv, .srt or .vtt file, sorted by start.

    Names of voice files are relative to `audio_dir`, or else to the file's own folder. With `audio_dir`, a segment that
    names none has the file in it that is called like the number or identifier of the cue, else like its place in the
    file, from 1 on: 1.wav, 0001.mp3. `audio_dir` may also be files by name: then no other is ever opened, whatever
    paths the segments name. Raises DataError that names the line or segment for broken files, segments of one person
    that overlap, and voices that are missing.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"{path}: expected segments in one of {' '.join(_READERS)}, found '{path.suffix}'; convert or rename it"
        )
    voices = _open_voices(path, audio_dir)
    entries = list(reader(path))
    if not entries:
        raise DataError(f"{path}: expected one segment or more, found none; add some")
    segments = _find_voices(path, entries, voices)
    segments.sort(key=lambda segment: (segment.start_s, segment.end_s))
    check_overlaps(segments)
    return segments


def _open_voices(path: Path, audio_dir: str | Path | Mapping[str, Path] | None) -> VoiceFiles:
    if isinstance(audio_dir, Mapping):
        return NamedVoices(audio_dir)
    if audio_dir is not None and not Path(audio_dir).is_dir():
        raise ConfigError(f"{audio_dir}: expected a folder with voice files, found none; name another")
    return FolderVoices(Path(path.parent if audio_dir is None else audio_dir), has_numbers=audio_dir is not None)


def check_duration(segments: Sequence[DubSegment], duration_s: Fraction) -> None:
    """Raise DataError for the first segment that reaches beyond the end of its video."""
    for segment in segments:
        if segment.end_s > duration_s + _SLACK_S:
            raise DataError(
                f"{segment.source}: expected times within the video ({_format_s(duration_s)}), found "
                f"{_format_s(segment.start_s)} to {_format_s(segment.end_s)}; correct them, or take the video they "
                "were made for"
            )


def _format_s(time_s: Fraction) -> str:
    return f"{float(time_s):.3f} s"


def _read_json(path: Path) -> Iterator[_Entry]:
    try:
        document = json.loads(read_text(path).lstrip("\ufeff"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: expected JSON, found {error.msg}; correct it") from error
    except (ValueError, RecursionError) as error:  # digits without end, brackets without end
        raise DataError(f"{path}: expected JSON of segments, found {error}; correct it") from error
    if isinstance(document, dict):
        _check_keys(document, ("segments",), str(path))
        document = document.get("segments")
    if not isinstance(document, list):
        raise DataError(f'{path}: expected a list of segments, or {{"segments": [...]}}, found neither; correct it')
    for number, values in enumerate(document, 1):
        source = f"{path}, segment {number}"
        if not isinstance(values, dict):
            raise DataError(f"{source}: expected an object with start and end, found {values!r:.40}; correct it")
        yield _Entry(segment=_build_segment(values, source), name=str(number))


def _read_csv(path: Path) -> Iterator[_Entry]:
    text = read_text(path).lstrip("\ufeff")
    header = re.split(r"\r\n|\r|\n", text.lstrip(), maxsplit=1)[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    names: list[str] = []
    number = 0
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            source = f"{path}, line {rows.line_num}"
            if not any(cells):
                continue
            if not names:
                names = [cell.lower() for cell in cells]
                doubled = sorted({name for name in names if name and names.count(name) > 1})
                if doubled:
                    raise DataError(
                        f"{source}: expected each column once, found {', '.join(doubled)} again; correct it"
                    )
                _check_keys(dict.fromkeys(names), KEYS, source)
                continue
            if len(cells) > len(names):
                raise DataError(f"{source}: expected {len(names)} columns, found {len(cells)}; put text in quotes")
            number += 1
            yield _Entry(segment=_build_segment(dict(zip(names, cells, strict=False)), source), name=str(number))
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: expected CSV, found {error}; correct it") from error


def _read_subtitles(path: Path) -> Iterator[_Entry]:
    for number, cue in enumerate(read_cues(path), 1):
        values = {"start": cue.start_s, "end": cue.end_s, "speaker": cue.speaker, "text": cue.text}
        segment = _build_segment(values, f"{path}, line {cue.line}")
        yield _Entry(segment=segment, name=cue.name or str(number))


_READERS: dict[str, Callable[[Path], Iterator[_Entry]]] = {
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".srt": _read_subtitles,
    ".vtt": _read_subtitles,
}


def _check_keys(values: Mapping[str, Any], known: Sequence[str], source: str) -> None:
    for key in values:
        if key not in known:
            similar = difflib.get_close_matches(key.lower(), known, n=1)
            advice = f"did you mean {similar[0]}?" if similar else "leave it out"
            raise DataError(f"{source}: expected only {', '.join(known)}, found {key!r}; {advice}")


def _build_segment(values: Mapping[str, Any], source: str) -> DubSegment:
    """Build a segment from its values in a file, absent where they are None or empty."""
    _check_keys(values, KEYS, source)
    given = {key: value for key, value in values.items() if value is not None and value != ""}
    missing = [key for key in ("start", "end") if key not in given]
    if missing:
        raise DataError(f"{source}: expected a start and an end, found no {' and no '.join(missing)}; add it")
    if "person" in given and "speaker" in given:
        raise DataError(f"{source}: expected person or speaker, found both; leave one out")
    try:
        return DubSegment(
            start_s=_convert_time(given["start"]),
            end_s=_convert_time(given["end"]),
            audio=Path(_convert_text("audio", given["audio"])) if "audio" in given else None,
            person=_convert_person(given.get("person", given.get("speaker"))),
            strength=_convert_strength(given["strength"]) if "strength" in given else None,
            text=_convert_text("text", given.get("text", "")),
            source=source,
        )
    except (ConfigError, ValueError, OverflowError) as error:
        raise DataError(f"{source}: {error}; correct it") from error


def _convert_time(value: Any) -> Fraction:
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str):
        return parse_time(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"expected seconds (12.5) or a time (00:00:12.500), found {value!r:.40}")
    if abs(value) > MAX_TIME_S:
        raise ValueError(f"expected a time of at most {MAX_TIME_S} s, found a larger one")
    return Fraction(str(value))  # the decimal as written, not the binary number nearest to it


def _convert_text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key}: expected text, found {value!r:.40}")
    return value


def _convert_person(value: Any) -> str | int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"person: expected a number or a name, found {value!r:.40}")
    text = str(value).strip()
    return int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else text


def _convert_strength(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value.replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"strength: expected a number, found {value!r:.40}") from error


def _find_voices(path: Path, entries: Sequence[_Entry], voices: VoiceFiles) -> list[DubSegment]:
    """Return the segments with the paths of their voices; DataError where some are missing."""
    segments, missing, taken = [], [], dict[str, str]()
    for entry in entries:
        segment, name = entry.segment, entry.segment.audio
        audio = None
        if name is not None:
            audio = voices.find(name)
        elif voices.has_numbers:
            key = normalize_number(entry.name)
            other = taken.setdefault(key, segment.source)
            if other != segment.source:
                raise DataError(
                    f"{segment.source}: expected a number of its own, by which to find its voice, found {entry.name} "
                    f"as at {other}; number them anew"
                )
            found = voices.find_by_number(entry.name)
            if len(found) > 1:
                raise DataError(
                    f"{segment.source}: expected one voice file called {entry.name}, found "
                    f"{' and '.join(list(found)[:2])}; remove one"
                )
            name, audio = Path(f"{entry.name}.wav"), next(iter(found.values()), None)
        if name is not None and audio is None:
            missing.append(f"{voices.describe(str(name))} ({segment.source.removeprefix(f'{path}, ')})")
        segments.append(replace(segment, audio=audio))
    if missing:
        more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
        raise DataError(
            f"{path}: expected a voice file for each segment, found no {', '.join(missing[:_MAX_NAMED])}{more}; put "
            "them there, in any sound format, or name another folder"
        )
    return segments


def check_overlaps(segments: Sequence[DubSegment]) -> None:
    """Raise DataError where one person has two segments at once; the segments are sorted by start."""
    last_of: dict[str | int | None, DubSegment] = {}
    for segment in segments:
        last = last_of.get(segment.person)
        if last is not None and segment.start_s < last.end_s:
            who = "" if segment.person is None else f" of {segment.person}"
            raise DataError(
                f"{segment.source}: expected a start after the segment{who} at {last.source} ends "
                f"({_format_s(last.end_s)}), found {_format_s(segment.start_s)}; move one of them, or give them "
                "different persons"
            )
        last_of[segment.person] = segment
