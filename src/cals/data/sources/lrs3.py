"""LRS3: `lrs3/{pretrain,trainval,test}/ID/00001.mp4`, a `.txt` beside each (Afouras et al., 2018)."""

import hashlib
from collections import Counter
from pathlib import Path

from cals.data.manifest import ClipSource, SourceCorpus
from cals.data.sources.layout import find_base, find_beside, iterate_videos, require_clips
from cals.data.sources.lrs2 import read_transcript

FOLDERS = ("pretrain", "trainval", "test")
HELD_OUT = 50
"""One of so many talks of `pretrain` and `trainval` is held out: there is no official validation part."""


def read_corpus(root: Path) -> SourceCorpus:
    """List the clips with their text; `root` is `lrs3` or holds it.

    An ID is a talk on the web, about as good as a person; it counts as a speaker. All its clips are in one part: `test`
    if that folder has it, `val_unseen` by the hash of its ID, the same for everybody, else `train`.
    """
    base = find_base(root, "lrs3")
    dropped: Counter[str] = Counter()
    clips = []
    splits: dict[str, list[str]] = {"train": [], "val_unseen": [], "test": []}
    for video in (path for folder in sorted(FOLDERS) for path in iterate_videos(base, f"{folder}/*")):
        name, talk = video.relative_to(base).with_suffix("").as_posix(), video.parent.name
        folder = name.partition("/")[0]
        if folder != "test" and (base / "test" / talk).is_dir():
            dropped["clips to train on of talks to test on"] += 1
            continue
        text, words = read_transcript(find_beside(video, ".txt"), dropped, timed=folder == "pretrain")
        clips.append(ClipSource(name=name, speaker=talk, video=video, text=text, words=words))
        splits["test" if folder == "test" else "val_unseen" if is_held_out(talk) else "train"].append(name)
    require_clips(clips, root, "lrs3/trainval/ID/00001.mp4")
    return SourceCorpus(clips=clips, dropped=dropped, splits=splits)


def is_held_out(talk: str) -> bool:
    """Tell whether a talk is held out for validation."""
    return int.from_bytes(hashlib.sha256(talk.encode()).digest()) % HELD_OUT == 0
