"""Folder of a study: every video encoded again under a blind name, and the page that shows them."""

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path

from cals.data.shards import convert_write_errors
from cals.data.sources import folder as folder_source
from cals.errors import ConfigError, DataError, MediaError
from cals.evaluation.clips import sample_evenly
from cals.evaluation.opinion.design import DesignConfig, draw_plans, draw_stimuli
from cals.evaluation.opinion.study import ANSWERS, SITE, STUDY, Stimulus, Study
from cals.files import replace_folder_atomically
from cals.media.reader import VideoFormat, VideoReader
from cals.media.writer import VideoWriter
from cals.options import EncodeOptions
from cals.types import ProgressCallback

log = logging.getLogger(__name__)

PAGE = ("index.html", "style.css", "script.js")
VIDEOS, DATA = "videos", "study.js"
_ENCODE = EncodeOptions(codec="h264", crf=14, preset="veryfast")
"""Quality above that of any method's own file."""
_TAGS = {"comment": "Shown in a study of lip-sync: the mouth in this video may have been generated."}
_BOX_BYTES = 8
"""Size of the header of a box in an mp4 file."""
_MAX_NAMES = 3
"""Maximum number of missing names in a message."""

Folders = Sequence[tuple[str, Path]]
"""Method -> its folder, in order."""


def make_study(
    folders: Folders,
    out: Path,
    config: DesignConfig,
    *,
    seed: int | None = None,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> Study:
    """Write a study of the videos that all `folders` have; without a `seed` a secret one is drawn.

    Raises ConfigError, DataError and MediaError for folders that do not match, unreadable videos, and an `out` that
    exists. `force` replaces an earlier study, but never one that has answers.
    """
    check_out(out, force=force)
    videos = match_videos(folders)
    methods, all_clips = [name for name, _ in folders], sorted(next(iter(videos.values())))
    clips = sample_evenly(all_clips, config.clips)
    seed = secrets.randbits(63) if seed is None else seed
    stimuli = draw_stimuli(methods, clips, [clip for clip in all_clips if clip not in clips], config, seed)
    study_id = _compute_id(seed, config, videos, clips)
    names = {stimulus.blind_name(seed, study_id): stimulus for stimulus in stimuli}
    named = dict(sorted(names.items(), key=lambda item: item[0]))
    study = Study(
        id=study_id,
        seed=seed,
        methods=tuple(methods),
        clips=tuple(clips),
        stimuli=named,
        plans=tuple(draw_plans(list(named.values()), methods, config.raters, seed)),
    )
    with convert_write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder_atomically(out) as partial:
            _write_site(partial / SITE, study, videos, progress)
            (partial / ANSWERS).mkdir()
            study.write(partial)
    return study


def _compute_id(seed: int, config: DesignConfig, videos: Mapping[str, Mapping[str, Path]], clips: Sequence[str]) -> str:
    """Compute the id of a study: that of other videos, or of another design, is another one."""
    digest = hashlib.sha256(repr((seed, asdict(config), clips)).encode())
    for method, by_clip in videos.items():
        for clip, path in sorted(by_clip.items()):
            with path.open("rb") as file:
                digest.update(f"{method}\0{clip}\0{hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()[:12]


def check_out(out: Path, *, force: bool) -> None:
    """Raise ConfigError where no study may be written."""
    if not out.exists() and not out.is_symlink():
        return
    if not force or not (out / STUDY).is_file():
        todo = "use --force to replace it" if (out / STUDY).is_file() else "name another --out"
        raise ConfigError(f"{out}: expected a new folder, found one that exists; {todo}")
    if any((out / ANSWERS).glob("*")):
        raise ConfigError(f"{out}: expected a study without answers, found some in {ANSWERS}/; keep it, name another")


def match_videos(folders: Folders) -> dict[str, dict[str, Path]]:
    """Match method -> clip -> video; DataError unless all methods have the same clips, each with sound and pictures."""
    names = [name for name, _ in folders]
    if not names or len(set(names)) < len(names) or not all(names):
        raise ConfigError(f"methods: expected NAME=FOLDER, each name once, found {', '.join(names) or 'none'}")
    by_method = {name: _find_videos(folder) for name, folder in folders}
    first = by_method[names[0]]
    for name, folder in folders:
        missing, extra = sorted(first.keys() - by_method[name].keys()), sorted(by_method[name].keys() - first.keys())
        if missing or extra:
            facts = [f"no {', '.join(missing[:_MAX_NAMES])}"] * bool(missing)
            facts += [f"besides them {', '.join(extra[:_MAX_NAMES])}"] * bool(extra)
            raise DataError(
                f"{folder}: expected the clips of {folders[0][1]}, a video each, found {' and '.join(facts)}; give all "
                "methods the same names"
            )
    for videos in by_method.values():
        for video in videos.values():
            _check_video(video)
    return by_method


def _find_videos(folder: Path) -> dict[str, Path]:
    videos: dict[str, Path] = {}
    for source in folder_source.list_clips(folder):
        if source.name in videos:
            raise DataError(
                f"{folder}: expected a video a clip, found {videos[source.name].name} and {source.video.name}; "
                "remove one of them"
            )
        videos[source.name] = source.video
    return videos


def _check_video(path: Path) -> None:
    with VideoReader(path, quiet=True) as reader:
        if not reader.has_audio:
            raise MediaError(f"{path}: expected a video with sound, found none; lips are judged by what is heard")


def _write_site(
    site: Path, study: Study, videos: Mapping[str, Mapping[str, Path]], progress: ProgressCallback | None
) -> None:
    (site / VIDEOS).mkdir(parents=True)
    total = len(study.stimuli)
    for index, (name, stimulus) in enumerate(study.stimuli.items()):
        if progress is not None:
            progress(index, total)
        _write_video(site / VIDEOS / f"{name}.mp4", stimulus, videos[stimulus.method])
    if progress is not None:
        progress(total, total)
    for clip in {stimulus.clip for stimulus in study.stimuli.values()}:
        _pad_files([site / VIDEOS / f"{name}.mp4" for name, one in study.stimuli.items() if one.clip == clip])
    source = resources.files("cals.evaluation.opinion") / "page"
    for name in PAGE:
        (site / name).write_bytes((source / name).read_bytes())
    (site / DATA).write_text(f"const STUDY = {json.dumps(study.build_page_document())};\n", encoding="utf-8")


def _write_video(path: Path, stimulus: Stimulus, videos: Mapping[str, Path]) -> None:
    """Encode a video with the same codec for every method, without the metadata of the method's file."""
    video, sound = videos[stimulus.clip], videos[stimulus.sound]
    with ExitStack() as files:
        reader = files.enter_context(VideoReader(video))
        writer = files.enter_context(
            VideoWriter(path, _build_format(reader.format), audio=sound, encode=_ENCODE, metadata=_TAGS)
        )
        for frame in reader:
            writer.write(frame)


def _pad_files(paths: Sequence[Path]) -> None:
    """Pad files to the same size and set the same time, since both could reveal the method."""
    largest = max(path.stat().st_size for path in paths)
    for path in paths:
        length = largest - path.stat().st_size + _BOX_BYTES
        with path.open("ab") as file:  # a box that players skip (ISO/IEC 14496-12, `free`)
            file.write(length.to_bytes(4, "big") + b"free" + bytes(length - _BOX_BYTES))
        os.utime(path, (0, 0))


def _build_format(source: VideoFormat) -> VideoFormat:
    """Return a format of the same size and times that every browser plays: progressive, 8 bit, 4:2:0."""
    is_playable = source.pix_fmt in ("yuv420p", "yuvj420p")
    return replace(source, pix_fmt=source.pix_fmt if is_playable else "yuv420p", field_order="", hdr=())
