"""HDTF: lists of segments and crops of videos that everybody downloads on their own (Zhang et al., 2021).

For `RD`, `WDA` and `WRA` each: `*_video_url.txt` (`NAME URL`), `*_annotion_time.txt` (`NAME.mp4 MM:SS-MM:SS ...`),
`*_crop_wh.txt` (`NAME_0.mp4 x width y height`, in the pixels that `*_resolution.txt` says) and `*_resolution.txt`
(`NAME.mp4 720`).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from cals.data.manifest import ClipSource, Region, SourceCorpus
from cals.data.sources.folder import find_videos
from cals.data.sources.layout import ANOTHER_COPY, MISSING_VIDEO, UNLISTED, read_lines, require_clips
from cals.errors import DataError
from cals.types import Box

TIMES = ("*_annotion_time.txt", "*_annotation_time.txt")
"""The published spelling, and that of other copies."""
HELD_OUT = {"val_unseen": Fraction(5, 100), "test": Fraction(5, 100)}
"""Shares of the source videos that are held out; the others are trained on."""
SEED = "hdtf-0"
SUFFIX = re.compile(r"\.mp4$", re.IGNORECASE)
URL_ID = re.compile(r"(?:v=|youtu\.be/)([\w-]{11})")
Table = Mapping[str, Sequence[str]]


def read_corpus(root: Path) -> SourceCorpus:
    """List the segments of the videos below `root` that exist; the lists lie anywhere in it.

    A video is found by its name in the lists, alone or after the list's (`RD_Radio1.mp4`), or by its id on YouTube. It
    is a speaker of its own, and `NAME/0` is its first segment.
    """
    if not root.is_dir():
        raise DataError(f"{root}: expected a folder with HDTF's lists and videos, found none; name another")
    lists: dict[str, Path] = {}  # the same lists may be there twice
    for path in sorted(path for pattern in TIMES for path in root.rglob(pattern)):
        lists.setdefault(path.name.partition("_")[0], path)
    if not lists:
        raise DataError(f"{root}: expected HDTF's lists, found no {TIMES[0]} below it; copy HDTF_dataset there")
    dropped: Counter[str] = Counter()
    paths = find_videos(root)
    videos = {path.stem: path for path in paths}
    dropped[ANOTHER_COPY] = len(paths) - len(videos)
    used: set[Path] = set()
    clips: list[ClipSource] = []
    listed: list[str] = []
    for prefix, path in lists.items():
        crops, heights, urls = (
            _read_table(path.with_name(f"{prefix}_{kind}.txt")) for kind in ("crop_wh", "resolution", "video_url")
        )
        for name, stretches in _read_table(path).items():
            listed.append(name)
            video = _find_video(name, prefix, urls.get(name, ()), videos)
            if video is None:
                dropped[MISSING_VIDEO] += 1
                continue
            used.add(video)
            clips += _iterate_clips(name, video, stretches, crops, heights.get(name, ()), dropped)
    dropped[UNLISTED] = len(set(videos.values()) - used)
    require_clips(clips, root, "the lists name them")
    parts = split_videos(listed)
    splits = {part: [clip.name for clip in clips if parts[clip.speaker] == part] for part in ("train", *HELD_OUT)}
    return SourceCorpus(clips=clips, dropped=+dropped, splits=splits)


def split_videos(names: Sequence[str]) -> dict[str, str]:
    """Assign source videos to parts by hash: the same for everybody, and whichever videos exist.

    `NancyPelosi0` and `NancyPelosi1` show one person, whose videos stay together; `Radio1` names nobody.
    """
    people: dict[str, list[str]] = {}
    for name in names:
        people.setdefault(name if name.startswith("Radio") else name.rstrip("0123456789"), []).append(name)
    remaining = sorted(people, key=lambda person: hashlib.sha256(f"{SEED} {person}".encode()).digest())
    parts: dict[str, str] = {}
    for part, share in HELD_OUT.items():
        target = len(parts) + max(1, round(share * len(names)))
        while remaining and len(parts) < target:
            parts |= dict.fromkeys(people[remaining.pop(0)], part)
    return parts | {name: "train" for person in remaining for name in people[person]}


def _read_table(path: Path) -> dict[str, list[str]]:
    """Read a file of lines: first field, without `.mp4`, -> those of all its lines; nothing where there is no file."""
    rows: dict[str, list[str]] = {}
    for line in dict.fromkeys(read_lines(path) or []):
        name, *fields = line.split()
        rows.setdefault(SUFFIX.sub("", name), []).extend(fields)
    return rows


def _find_video(name: str, prefix: str, url: Sequence[str], videos: Mapping[str, Path]) -> Path | None:
    for stem in (name, f"{prefix}_{name}"):
        if stem in videos:
            return videos[stem]
    match = URL_ID.search(url[0]) if url else None
    if match is None:
        return None
    ends = (match[1], f"[{match[1]}]")
    return next((path for stem, path in videos.items() if stem.endswith(ends)), None)


def _iterate_clips(
    name: str, video: Path, stretches: Sequence[str], crops: Table, height: Sequence[str], dropped: Counter[str]
) -> Iterator[ClipSource]:
    for number, stretch in enumerate(stretches):
        times = _parse_times(stretch)
        if times is None:
            dropped["stretches whose times cannot be read"] += 1
            continue
        crop = crops.get(f"{name}_{number}")
        if crop is None:  # the authors found something wrong with it
            dropped["stretches without a crop"] += 1
            continue
        region = _parse_region(crop, height)
        dropped["crops that cannot be read"] += region is None
        yield ClipSource(
            name=f"{name}/{number}", speaker=name, video=video, start_s=times[0], end_s=times[1], region=region
        )


def _parse_times(stretch: str) -> tuple[Fraction, Fraction] | None:
    """Parse `MM:SS-MM:SS`, with hours or without, to start and end in seconds; None where it is neither."""
    try:
        start, end = (
            sum((Fraction(part) * 60**place for place, part in enumerate(reversed(time.split(":")))), Fraction(0))
            for time in stretch.split("-")
        )
    except (ValueError, ZeroDivisionError):
        return None
    return (start, end) if 0 <= start < end else None


def _parse_region(crop: Sequence[str], height: Sequence[str]) -> Region | None:
    """Parse the crop `x width y height`, or `x y width height`, which a square tells apart; None where it is
    neither."""
    try:
        x, second, third, last = (int(value) for value in crop)
        height_px = int(height[0])
    except (ValueError, IndexError):
        return None
    y = third if second == last else second
    if last not in (second, third) or min(last, height_px) <= 0:
        return None
    return Region(box=Box(x, y, x + last, y + last), height_px=height_px)
