"""`cals prepare`: a raw corpus to verified shards; an interrupted run resumes where it stopped."""

import dataclasses
import gc
import hashlib
import json
import logging
import shutil
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cals import hub
from cals.data.manifest import ClipSource, check_keys
from cals.data.offset import MIN_CORRELATION, GroupOffset, estimate_group_offset
from cals.data.segments import correct_offset, extract_samples
from cals.data.shards import Sample, convert_write_errors, read_shard, write_shard
from cals.errors import DataError, MediaError
from cals.face.align import CROP_SIZE_PX
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.files import replace_atomically
from cals.timing import AVTiming
from cals.types import ProgressCallback
from cals.workers import Work, check_workers, run_jobs

logger = logging.getLogger(__name__)

SHARD_SAMPLES = 64
PARTS_FORMAT = 3
"""Version of the contents of a part; parts of an older version are made again."""
TOLERATED_OFFSET = 1
"""Largest offset, in frames, that is not corrected: in synchronous speech loudness and opening peak up to 1 apart."""
MIN_GROUP = 10
"""Least number of samples from which an offset is estimated; a short clip alone measures it badly. Speakers with
fewer share the offset of the whole corpus, and a corpus with fewer is taken to have none."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What goes into the shards."""

    timing: AVTiming = field(default_factory=AVTiming)
    crop_px: int = CROP_SIZE_PX
    min_correlation: float = MIN_CORRELATION


@dataclass
class Summary:
    """Counts and offsets of a prepared corpus."""

    clips: int = 0
    samples: int = 0
    frames: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> number of clips, samples or frames, as the reason says."""
    offsets: dict[str, GroupOffset] = field(default_factory=dict)
    """By speaker, as measured before the correction."""


def prepare(
    clips: list[ClipSource],
    out: Path,
    config: PrepareConfig,
    *,
    workers: int = 1,
    ray: str | None = None,
    face_models: Path | None = None,
    progress: ProgressCallback | None = None,
    dropped: Mapping[str, int] | None = None,
    splits: Mapping[str, Sequence[str]] | None = None,
) -> Summary:
    """Write `shard-*.tar`, `manifest.jsonl` and `summary.json` into `out`.

    `workers` and `ray` are those of `run_jobs`. `dropped` counts what the corpus lost before, for the summary. `splits`
    are clip names by part; those that are usable are written to `splits.json`.

    An interrupted run resumes with the clips whose part is missing, or was made from another file or config. Raises
    DataError when `out` cannot be written or is already prepared, two clips share a key or no clip is usable; a single
    broken clip is only counted.
    """
    check_workers(workers, ray)
    check_keys(clips)
    parts = out / "parts"
    with convert_write_errors(out):
        if (out / "manifest.jsonl").exists():
            raise DataError(
                f"{out}: expected a folder not prepared yet, found a manifest; remove it or name another --out"
            )
        parts.mkdir(parents=True, exist_ok=True)
    models = FaceModels(*hub.read_face_models(face_models))
    origins = {clip.key: _describe_origin(clip, config) for clip in clips}
    pending = [clip for clip in clips if not _is_complete(clip, parts, origins[clip.key])]
    done = len(clips) - len(pending)
    if done:
        logger.info("%d of %d clips were prepared before", done, len(clips))
    work = Work(start=_start_worker, arguments=(models,), run=_prepare_clip, items="clips")
    jobs = [_Job(clip, parts, config, origins[clip.key]) for clip in pending]
    for _ in run_jobs(work, jobs, workers=workers, ray=ray):
        done += 1
        if progress is not None:
            progress(done, len(clips))
    summary = _collect(clips, parts, out, config, Summary(clips=len(clips), dropped=Counter(dropped or {})), splits)
    shutil.rmtree(parts, ignore_errors=True)
    return summary


def _describe_origin(clip: ClipSource, config: PrepareConfig) -> dict[str, Any]:
    """Describe what a part is made from, as JSON returns it; `min_correlation` is applied afterwards and left out."""
    annotations = (clip.words, clip.text, clip.start_s, clip.end_s, clip.region)
    return {
        "format": PARTS_FORMAT,
        "timing": dataclasses.asdict(config.timing),
        "crop_px": config.crop_px,
        "files": [_stat_file(path) for path in (clip.video, clip.sound) if path is not None],
        "speaker": clip.speaker,
        "told": hashlib.sha256(repr(annotations).encode()).hexdigest(),
    }


def _stat_file(path: Path) -> list[int]:
    """Return size and time of a file; -1 for example for a dangling link, which whoever reads it will report."""
    try:
        stat = path.stat()
    except OSError:
        return [-1, -1]
    return [stat.st_size, stat.st_mtime_ns]


def _is_complete(clip: ClipSource, parts: Path, origin: dict[str, Any]) -> bool:
    """Tell whether the clip's part exists and was made from this origin."""
    try:
        facts = json.loads((parts / f"{clip.key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(facts, dict) or facts.get("origin") != origin:
        logger.info("%s was prepared from another file or config: made anew", clip.name)
        return False
    return not facts["samples"] or (parts / f"{clip.key}.tar").is_file()


_detector: BlazeFaceMesh | None = None


def _start_worker(models: FaceModels) -> None:
    gc.freeze()  # objects of the parent may own threads, which a fork lacks: collecting them would wait forever
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    global _detector  # one per process; building it is slower than tracking a short clip
    _detector = BlazeFaceMesh(models)


class _Job(NamedTuple):
    clip: ClipSource
    parts: Path
    config: PrepareConfig
    origin: dict[str, Any]


def _prepare_clip(job: _Job) -> None:
    assert _detector is not None
    clip, parts, config, origin = job
    dropped: Counter[str] = Counter()
    count = 0
    with convert_write_errors(parts):  # one made from an older file or config
        (parts / f"{clip.key}.tar").unlink(missing_ok=True)
    try:
        samples = extract_samples(clip, _detector, config.timing, config.crop_px, dropped)
        count = write_shard(parts / f"{clip.key}.tar", samples)
    except MediaError as error:
        logger.warning("%s", error)
        dropped["clips that cannot be read"] += 1
    _write(parts / f"{clip.key}.json", json.dumps({"samples": count, "dropped": dropped, "origin": origin}))


def _collect(
    clips: list[ClipSource],
    parts: Path,
    out: Path,
    config: PrepareConfig,
    summary: Summary,
    splits: Mapping[str, Sequence[str]] | None,
) -> Summary:
    """Write the usable samples of all parts as shards, with summary, splits and manifest."""
    curves: dict[str, list[Any]] = defaultdict(list)
    for clip in clips:
        facts = json.loads((parts / f"{clip.key}.json").read_text(encoding="utf-8"))
        summary.dropped.update(facts["dropped"])
        if facts["samples"]:
            curves[clip.speaker] += [
                np.array(sample.facts["offset_curve"]) for sample in read_shard(parts / f"{clip.key}.tar")
            ]
    summary.offsets = _estimate_offsets(curves)
    lines, usable_names = [], set()
    for number, group in enumerate(_group_samples(_select_samples(clips, parts, config, summary))):
        shard = f"shard-{number:05d}.tar"
        write_shard(out / shard, group)
        lines += [json.dumps({"key": sample.key, "shard": shard} | sample.facts) for sample in group]
        usable_names |= {sample.facts["clip"] for sample in group}
    if not summary.samples:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(summary.dropped.items())) or "nothing"
        raise DataError(
            f"{out}: expected usable clips, found none (dropped: {reasons}); "
            "give videos in which one face talks, or a lower --min-correlation"
        )
    _write(out / "summary.json", json.dumps(_describe_summary(summary), indent=2))
    if splits is not None:
        usable_splits = {part: [name for name in names if name in usable_names] for part, names in splits.items()}
        _write(
            out / "splits.json", json.dumps({part: names for part, names in usable_splits.items() if names}, indent=0)
        )
    _write(out / "manifest.jsonl", "\n".join(lines))
    return summary


def _estimate_offsets(curves: dict[str, list[Any]]) -> dict[str, GroupOffset]:
    """Estimate the offset of each speaker; speakers with too few samples share that of the whole corpus."""
    if not curves:
        return {}
    shared = estimate_group_offset([curve for group in curves.values() for curve in group], MIN_GROUP)
    return {
        speaker: estimate_group_offset(group, MIN_GROUP) if len(group) >= MIN_GROUP else shared
        for speaker, group in curves.items()
    }


def _select_samples(clips: list[ClipSource], parts: Path, config: PrepareConfig, summary: Summary) -> Iterator[Sample]:
    """Iterate over the samples whose sound follows the lips, with their offset corrected."""
    for clip in clips:
        if not (parts / f"{clip.key}.tar").exists():
            continue
        offset = summary.offsets[clip.speaker].offset_frames if clip.speaker in summary.offsets else 0
        shift = offset if abs(offset) > TOLERATED_OFFSET else 0
        for sample in read_shard(parts / f"{clip.key}.tar"):
            curve = sample.facts.pop("offset_curve")
            middle = len(curve) // 2 + offset
            correlation = max(curve[max(0, middle - TOLERATED_OFFSET) : middle + TOLERATED_OFFSET + 1])
            if correlation < config.min_correlation:
                summary.dropped["samples whose sound does not follow the lips"] += 1
                continue
            sample.facts["offset_corrected_frames"] = shift
            sample.facts["sync_correlation"] = correlation
            summary.samples += 1
            summary.frames += sample.facts["frames"]
            yield correct_offset(sample, shift, config.timing)


def _group_samples(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    group: list[Sample] = []
    for sample in samples:
        group.append(sample)
        if len(group) == SHARD_SAMPLES:
            yield group
            group = []
    if group:
        yield group


def _describe_summary(summary: Summary) -> dict[str, Any]:
    return {
        "clips": summary.clips,
        "samples": summary.samples,
        "frames": summary.frames,
        "dropped": dict(summary.dropped),
        "offsets": {
            speaker: {
                "offset_frames": offset.offset_frames,
                "correlation": round(offset.correlation, 4),
                "samples": offset.clips,
            }
            for speaker, offset in sorted(summary.offsets.items())
        },
    }


def _write(path: Path, text: str) -> None:
    with convert_write_errors(path), replace_atomically(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
