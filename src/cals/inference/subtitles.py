"""Cues of subtitle files: SubRip (.srt) and WebVTT (.vtt), with the line of each for messages.

Own, since the libraries leave out or change without a word what a dub needs: of a cue with a broken time pysubs2 1.8
makes text of the cue before it, reads 100 hours as 0 and a negative time as positive; srt 3.5 does the first as well,
knows no WebVTT and reads ",5" as 5 ms; webvtt-py 0.6 drops the cue. None names the line.
"""

import html
import logging
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from cals.errors import DataError
from cals.files import describe_os_error

_log = logging.getLogger(__name__)

_CLOCK = r"(?:\d+:)?\d{1,2}:\d{1,2}(?:[.,]\d+)?"
_CUE_CLOCK = r"(?:\d+:)?\d{2}:\d{2}(?:[.,]\d{3,})?"  # of fewer digits nobody knows whether they are thousandths
_TIMING = re.compile(rf"({_CUE_CLOCK})\s*-->\s*({_CUE_CLOCK})(?:\s.*)?")
_NEARLY_TIMING = re.compile(rf".*-->.*|-?{_CLOCK}\s*\S{{1,3}}\s*-?{_CLOCK}.*|-?\d+\s*:[\d\s]+:[\d\s:.,<>–—→-]*")
"""A timing that somebody or a translation broke. The same may be said in a cue, so only its head is looked at."""
_SECONDS = re.compile(r"\d+(?:[.,]\d+)?")
_MAX_TIME_LETTERS = 24
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}")
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, kw_only=True)
class Cue:
    """A text and when it is shown."""

    name: str | None
    """The number or identifier before the times."""
    start_s: Fraction
    end_s: Fraction
    text: str
    """In one line, without markup."""
    speaker: str | None
    """The name in WebVTT's `<v Name>`."""
    line: int


def parse_time(text: str) -> Fraction:
    """Parse seconds, MM:SS or HH:MM:SS, with decimals after a point or a comma; ValueError for others."""
    value = text.strip()
    if len(value) > _MAX_TIME_LETTERS or not re.fullmatch(rf"{_CLOCK}|{_SECONDS.pattern}", value, re.ASCII):
        raise ValueError(f"expected seconds (12.5) or a time (00:00:12.500), found {text!r:.40}")
    *larger, seconds = value.replace(",", ".").split(":")
    hours, minutes = ([0, 0] + [int(part) for part in larger])[-2:]
    if larger and (minutes >= 60 or Fraction(seconds) >= 60):
        raise ValueError(f"expected minutes and seconds under 60, found {text!r}")
    return (hours * 60 + minutes) * 60 + Fraction(seconds)


def read_text(path: Path) -> str:
    """Read a text file in UTF-8 or UTF-16; one that is neither as Windows-1252, which is logged."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else error
        raise DataError(f"{path}: expected a file that can be read, found: {reason}; name another") from error
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "")
    if not encoding and b"\0" in data[:256]:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding:
            raise DataError(f"{path}: expected text, found bytes that are none; save it as UTF-8") from error
        _log.warning("%s: its text is not UTF-8; reading it as Windows-1252, save it as UTF-8 if names are wrong", path)
        return data.decode("cp1252", errors="replace")


def read_cues(path: Path) -> list[Cue]:
    """Read the cues of an .srt or .vtt file, in its order; DataError that names the line of a broken time.

    Times may have a comma or a point in either format, and blank lines may be missing.
    """
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", read_text(path))]
    timings: list[tuple[int, Fraction, Fraction]] = []
    for i, line in enumerate(lines):
        match = _TIMING.fullmatch(line)
        if match is None and not (_is_head(lines, i) and _NEARLY_TIMING.fullmatch(line)):
            continue
        try:
            if match is None:
                raise ValueError(f"expected times like 00:00:01,000 --> 00:00:02,500, found {line!r}")
            timings.append((i, parse_time(match[1]), parse_time(match[2])))
        except ValueError as error:
            raise DataError(f"{path}, line {i + 1}: {error}; correct it") from error
    starts = [-1, *(timing[0] for timing in timings)]
    heads = [_find_head(lines, i, after, path) for i, after in zip(starts[1:], starts[:-1], strict=True)]
    return [
        _build_cue(path, lines[head:end], i - head, i + 1, start_s, end_s)
        for (i, start_s, end_s), head, end in zip(timings, heads, [*heads, len(lines)][1:], strict=True)
    ]


def _build_cue(path: Path, lines: list[str], timing: int, number: int, start_s: Fraction, end_s: Fraction) -> Cue:
    """Build the cue of `lines`, of which `timing` has the times; its number in the file is `number`."""
    body = lines[timing + 1 :]
    if path.suffix.lower() != ".srt" and "" in body:  # comments and styles may follow
        body = body[: body.index("")]
    text = " ".join(body)
    speakers = sorted({html.unescape(name).strip() for name in _VOICE.findall(text)})
    if len(speakers) > 1:
        raise DataError(
            f"{path}, line {number}: expected one speaker in a cue, found {' and '.join(speakers)}; make a cue of each"
        )
    return Cue(
        name=" ".join(lines[:timing]).strip() or None,
        start_s=start_s,
        end_s=end_s,
        text=html.unescape(" ".join(_MARKUP.sub("", text).split())),
        speaker=speakers[0] if speakers else None,
        line=number,
    )


def _is_head(lines: list[str], i: int) -> bool:
    """Return whether a cue may begin at a line: at the file's start, after a number or a blank line."""
    above = lines[i - 1] if i else ""
    is_comment = any(lines[i].startswith(word) for word in ("NOTE", "STYLE", "REGION", "WEBVTT"))
    return not is_comment and (not above or above.isdecimal())


def _find_head(lines: list[str], timing: int, after: int, path: Path) -> int:
    """Return the index of the line with the number or identifier of a cue; its timing's own where there is none."""
    above = timing - 1
    while path.suffix.lower() == ".srt" and above > after and not lines[above]:  # double line ends
        above -= 1
    if above <= after or not lines[above]:
        return timing
    is_first = above == 0 or not lines[above - 1]
    is_header = above == 0 and lines[0].lstrip("\ufeff").startswith("WEBVTT")
    return above if lines[above].isdecimal() or (is_first and not is_header) else timing
