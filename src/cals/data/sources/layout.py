"""Functions and reasons that the readers of published layouts share."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cals.data.manifest import ClipSource
from cals.errors import DataError

MISSING_TEXT = "transcripts that are missing"
BROKEN_TEXT = "transcripts that cannot be read"
MISSING_TIMES = "times of words that are missing"
BROKEN_TIMES = "times of words that cannot be read"
MISSING_VIDEO = "listed videos that are absent"
UNLISTED = "videos that no list names"
ANOTHER_COPY = "videos of which there is another copy"


def find_base(root: Path, name: str) -> Path:
    """Return the folder `name` in `root`, or `root` itself where it has none; DataError where `root` is no folder."""
    if not root.is_dir():
        raise DataError(f"{root}: expected a folder that holds {name}, found none; name another")
    return root / name if (root / name).is_dir() else root


def is_resource_fork(path: Path) -> bool:
    """Tell whether a file is what a Mac notes of another one, under its name and suffix."""
    return path.name.startswith("._")


def iterate_videos(base: Path, folders: str) -> Iterator[Path]:
    """Iterate over the mp4 files in `folders`, a pattern below `base`, in order; the case of the suffix is free."""
    for path in sorted(base.glob(f"{folders}/*")):
        if path.suffix.lower() == ".mp4" and not is_resource_fork(path):
            yield path


def find_beside(video: Path, suffix: str) -> Path:
    """Return the file of the video's name with `suffix`, in lower case or upper case; the first where there is none."""
    paths = [video.with_suffix(suffix), video.with_suffix(suffix.upper())]
    return next((path for path in paths if path.is_file()), paths[0])


def read_lines(path: Path) -> list[str] | None:
    """Read the non-empty lines of a text file, whatever its encoding; None where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")  # Windows begins a file with a mark
    except OSError:
        return None
    return [line.strip() for line in text.splitlines() if line.strip()]


def require_clips(clips: Sequence[ClipSource], root: Path, layout: str) -> None:
    """Raise DataError where there is no clip."""
    if not clips:
        raise DataError(
            f"{root}: expected videos as {layout}, found none; name the folder that was unpacked, or read it with "
            "`cals prepare folder`"
        )
