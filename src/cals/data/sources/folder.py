"""Any folder of talking videos: a sub-folder is a speaker, a file is a clip."""

from pathlib import Path

from cals.data.manifest import VIDEO_SUFFIXES, ClipSource, SourceCorpus
from cals.data.sources.layout import is_resource_fork
from cals.errors import DataError


def list_clips(root: Path) -> list[ClipSource]:
    """List all videos below `root` in name order; those directly in it have a speaker each.

    Raises DataError when there is none.
    """
    if not root.is_dir():
        raise DataError(f"{root}: expected a folder of videos, found none; name another")
    sources = []
    for video in find_videos(root):
        name = video.relative_to(root).with_suffix("")
        sources.append(ClipSource(name=name.as_posix(), speaker=name.parts[0], video=video))
    if not sources:
        raise DataError(
            f"{root}: expected videos ({' '.join(sorted(VIDEO_SUFFIXES))}), found none below it; "
            "name another folder, or convert them"
        )
    return sources


def read_corpus(root: Path) -> SourceCorpus:
    """Read the clips that `clips` lists."""
    return SourceCorpus(clips=list_clips(root))


def find_videos(root: Path) -> list[Path]:
    """List all files below `root` that are videos by their suffix, in name order."""
    return sorted(
        path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and not is_resource_fork(path)
    )
