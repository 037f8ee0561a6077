"""Opening media files for reading, and the words for what is wrong with them."""

import logging
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
from av.container import InputContainer

from cals.errors import MediaError
from cals.files import hint_for

log = logging.getLogger(__name__)

_HUGE_PX = 4096 * 2304
"""Beyond 4K: an 8K picture takes 50 MB, and codecs keep as much again for each."""


def is_huge(width: int, height: int) -> bool:
    """Whether pictures are so large that few may be held at a time."""
    return width * height > _HUGE_PX


def thread_type(width: int, height: int) -> Literal["AUTO", "SLICE"]:
    """How a codec shares work among threads: a picture each, but all work on one where pictures are huge."""
    return "SLICE" if is_huge(width, height) else "AUTO"


def check_file(path: Path) -> None:
    """Raise MediaError unless `path` is a file with something in it."""
    try:
        if not path.exists():
            raise MediaError(f"{path}: expected a file, found nothing there; {hint_for(path) or 'check the path'}")
        if path.is_dir():
            raise MediaError(f"{path}: expected a file, found a directory; give a file inside it")
        if path.is_fifo():
            raise MediaError(f"{path}: expected a regular file, found a pipe; write it to a file first")
        if path.is_file() and path.stat().st_size == 0:
            raise MediaError(f"{path}: expected a media file, found an empty file; copy or download it again")
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise MediaError(f"{path}: expected a readable file, found: {reason(error)}; check path and rights") from error


def open_input(path: Path) -> InputContainer:
    """Open a local media file; only local files are ever followed, whatever a playlist inside says."""
    check_file(path)
    try:
        # "file:" so that a colon or a word like "concat" in a name is never taken for a protocol.
        return av.open(
            f"file:{path}",
            metadata_errors="replace",
            container_options={"protocol_whitelist": "file"},
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(
            f"{path}: expected a video, image or audio file, found data that cannot be read ({reason(error)}); "
            "it may be cut short or of another kind: copy it again or convert it to mp4"
        ) from error


def reason(error: BaseException) -> str:
    """One short line saying what a library complained about."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


class Damage:
    """What was found broken while reading one file: an error at once, or with `keep_going` one warning at the end."""

    def __init__(self, path: Path, keep_going: bool) -> None:
        self.path = path
        self.keep_going = keep_going
        self.count = 0
        self._first = ""

    def note(self, what: str, time_s: Fraction, cause: BaseException | None = None) -> None:
        """Record one damaged place `time_s` into the file; raises MediaError unless `keep_going`."""
        where = f"{what} at {float(time_s):.2f} s"
        if not self.keep_going:
            raise MediaError(
                f"{self.path}: expected an undamaged file, found {where}; "
                "copy it again, or use --keep-going to take what can be read"
            ) from cause
        self._first = self._first or where
        self.count += 1

    def report(self) -> None:
        """Log the warning, if anything was found since the last report."""
        if self.count:
            log.warning("%s: kept going past %d damaged places, first: %s", self.path, self.count, self._first)
            self.count, self._first = 0, ""
