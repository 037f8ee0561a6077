"""Opening of media files for reading, and the error messages for damaged ones."""

import logging
import os
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
from av.container import InputContainer

from cals.errors import MediaError
from cals.files import suggest_path

log = logging.getLogger(__name__)

_HUGE_PX = 4096 * 2304
"""Beyond 4K: an 8K picture takes 50 MB, and codecs keep as much again for each."""

_MAX_THREADS = 16


def is_huge(width: int, height: int) -> bool:
    """Return whether pictures are so large that only few may be held at a time."""
    return width * height > _HUGE_PX


def count_threads() -> int:
    """Return the number of threads for a codec, one a core: FFmpeg takes more, and each holds pictures."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(_MAX_THREADS, len(affinity(0)) if affinity else os.cpu_count() or 1)


def choose_thread_type(width: int, height: int) -> Literal["AUTO", "SLICE"]:
    """Choose how a codec uses threads: a picture each, or slices of one picture where pictures are huge."""
    return "SLICE" if is_huge(width, height) else "AUTO"


def check_file(path: Path) -> None:
    """Raise MediaError unless `path` is a readable, non-empty file."""
    try:
        if not path.exists():
            raise MediaError(f"{path}: expected a file, found nothing there; {suggest_path(path) or 'check the path'}")
        if path.is_dir():
            raise MediaError(f"{path}: expected a file, found a directory; give a file inside it")
        if path.is_fifo():
            raise MediaError(f"{path}: expected a regular file, found a pipe; write it to a file first")
        if path.is_file() and path.stat().st_size == 0:
            raise MediaError(f"{path}: expected a media file, found an empty file; copy or download it again")
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise MediaError(
            f"{path}: expected a readable file, found: {describe_error(error)}; check path and rights"
        ) from error


def open_input(path: Path) -> InputContainer:
    """Open a local media file; a playlist in it can refer to local files only."""
    check_file(path)
    try:
        # With "file:" a colon or a word like "concat" in a name is not mistaken for a protocol.
        return av.open(
            f"file:{path}",
            metadata_errors="replace",
            container_options={"protocol_whitelist": "file"},
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(
            f"{path}: expected a video, image or audio file, found data that cannot be read ({describe_error(error)}); "
            "it may be cut short or of another kind: copy it again or convert it to mp4"
        ) from error


def describe_error(error: BaseException) -> str:
    """Return the error of a library as one short line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


class Damage:
    """Damage found while reading one file: an error at once, or with `keep_going` one warning at the end."""

    def __init__(self, path: Path, keep_going: bool) -> None:
        self.path = path
        self.keep_going = keep_going
        self.count = 0
        self._first_place = ""

    def note(self, what: str, time_s: Fraction, cause: BaseException | None = None) -> None:
        """Record damage at `time_s` of the file; raises MediaError unless `keep_going`."""
        found = f"{what} at {float(time_s):.2f} s"
        if not self.keep_going:
            raise MediaError(
                f"{self.path}: expected an undamaged file, found {found}; "
                "copy it again, or use --keep-going to take what can be read"
            ) from cause
        self._first_place = self._first_place or found
        self.count += 1

    def report(self) -> None:
        """Log the warning if damage was found since the last report."""
        if self.count:
            log.warning("%s: kept going past %d damaged places, first: %s", self.path, self.count, self._first_place)
            self.count, self._first_place = 0, ""
