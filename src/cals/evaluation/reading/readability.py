"""`cals readability`: how well a frozen lip reader reads generated mouths, beside the real ones."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cals
from cals import hub
from cals.checkpoint import compute_weights_sha256
from cals.data.manifest import ClipSource
from cals.data.sources import grid
from cals.data.words import TimedWord, crop_mouth, quantize_words
from cals.errors import DataError
from cals.evaluation.clips import ClipsConfig, sample_evenly, select_names
from cals.evaluation.drives import read_clip
from cals.evaluation.journal import Journal
from cals.evaluation.outputs import REAL
from cals.evaluation.reading.lip_reading import load_reader, read_words
from cals.evaluation.reading.methods import Methods
from cals.evaluation.reading.readings import BASELINES, BLANKED, SHUFFLED, ClipReading, ReadabilityReport
from cals.evaluation.results import open_results, write_json
from cals.face.detector import BlazeFaceMesh, FaceDetector, FaceModels
from cals.face.draw import encode_png
from cals.inference.lipsync import LipSync
from cals.models.reader import LipReader
from cals.report.confusions import draw_confusions
from cals.types import ProgressCallback

logger = logging.getLogger(__name__)

FILES = ("readability.json", "readability.md", "confusions.png")


@dataclass(frozen=True, kw_only=True)
class ReadabilityConfig(ClipsConfig):
    """Which clips are read."""

    clips: int | None = None
    """At most so many a part, evenly spaced among those with known words; None for all."""
    seed: int = 0
    """Of the bootstrap."""


@dataclass(frozen=True)
class Task:
    """A clip to read, and the next one of its part, at whose word times its mouth is read for `shuffled`."""

    part: str
    source: ClipSource
    other: ClipSource


def measure_readability(
    corpus: Path,
    splits: Path,
    reader: Path,
    models: dict[str, LipSync],
    out: Path,
    config: ReadabilityConfig,
    *,
    generated: Sequence[Path] = (),
    face_models: Path | None = None,
    device: str = "cpu",
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> ReadabilityReport:
    """Read held-out clips and what is generated of them; write `FILES` into `out`, all or none.

    An interrupted run resumes with the next clip when started again with the same settings. Raises DataError when no
    clip of the parts has known words, or none of them a face.
    """
    network = load_reader(reader).to(device)
    detector = BlazeFaceMesh(FaceModels(*hub.read_face_models(face_models)))
    methods = Methods(models, generated, detector)
    tasks, unknown = _select_tasks(corpus, splits, config, network)
    methods.check([task.source for task in tasks])
    settings = _describe_settings(corpus, splits, reader, models, generated, config)
    report = ReadabilityReport(settings, network.config, without_words=unknown, seed=config.seed)
    with open_results(out, FILES, force=force, reserved=(splits,)) as (document, text, picture):
        journal = Journal(out / ".readability.jsonl", settings, asdict, ClipReading.from_document, force=force)
        for done, task in enumerate(tasks):
            if progress is not None:
                progress(done, len(tasks))
            key = f"{task.part}-{task.source.key}"
            if key not in journal.records:
                journal.add(key, _read_clip_words(task, methods, network, detector))
            report.clips.append(journal.records[key])
        if progress is not None:
            progress(len(tasks), len(tasks))
        readings = {name: [w for clip in report.clips for w in clip.readings.get(name, [])] for name in report.methods}
        if not readings.get(REAL):
            raise DataError(
                f"{corpus}: expected words with a face in all their frames, found none; name another corpus"
            )
        write_json(document, report.document())
        text.write_text(report.format_markdown() + "\n", encoding="utf-8")
        shown = {name: words for name, words in readings.items() if name not in BASELINES[1:]}
        words = {name: [(word.pred, word.target) for word in of] for name, of in shown.items()}
        picture.write_bytes(encode_png(draw_confusions(words, list(network.config.slots.values()))))
    journal.close()
    return report


def _describe_settings(
    corpus: Path,
    splits: Path,
    reader: Path,
    models: dict[str, LipSync],
    generated: Sequence[Path],
    config: ReadabilityConfig,
) -> dict[str, Any]:
    return {
        "models": {name: lips.model.fingerprint for name, lips in models.items()},
        "generated": [str(place) for place in generated],
        "reader": f"{reader} ({compute_weights_sha256(reader)[:12]})",
        "corpus": str(corpus),
        "splits": str(splits),
        "parts": list(config.parts),
        "clips": config.clips,
        "seed": config.seed,
        "cals": cals.__version__,
    }


def _select_tasks(
    corpus: Path, splits: Path, config: ReadabilityConfig, network: LipReader
) -> tuple[list[Task], dict[str, int]]:
    """Select clips with words that the reader knows; count those of each part without any."""
    clip_of, known = {clip.name: clip for clip in grid.list_clips(corpus)}, set(network.config.words)
    tasks, unknown = [], {}
    for part in config.parts:
        names = select_names(clip_of, corpus, splits, part, some=False)
        readable = [clip_of[name] for name in names if known & {word.text for word in clip_of[name].words or ()}]
        unknown[part] = len(names) - len(readable)
        chosen = sample_evenly(readable, config.clips)
        tasks += [Task(part, clip, chosen[(i + 1) % len(chosen)]) for i, clip in enumerate(chosen)]
    if not tasks:
        raise DataError(
            f"{corpus}: expected clips with .align files and words that the reader knows, found none in "
            f"{', '.join(config.parts)}; name other parts"
        )
    return tasks, unknown


def _read_clip_words(task: Task, methods: Methods, network: LipReader, detector: FaceDetector) -> ClipReading:
    clip, config = read_clip(task.source, detector), network.config
    ticks_s = (np.arange(int(clip.end_s * config.fps)) + 0.5) / config.fps
    index = np.maximum(np.searchsorted(clip.starts_s, ticks_s, side="right") - 1, 0)  # the first may start late
    shown = methods.track_methods(clip) if clip.faces.valid.any() else {}
    valid = np.all([one.valid[index] for one in shown.values()], axis=0) if shown else np.zeros(len(index), bool)
    mouths = {name: crop_mouth(one.crops[index], config.cut) for name, one in shown.items()}

    def words(source: ClipSource) -> list[TimedWord]:
        timed = quantize_words(source.words or (), len(index), config.fps)
        return [word for word in timed if word.text in config.slot_of]

    own_words = [word for word in words(task.source) if valid[word.start : word.end].all()]
    readings = {name: read_words(network, mouth, own_words, valid) for name, mouth in mouths.items()}
    if shown:
        readings[BLANKED] = read_words(network, mouths[REAL], own_words, valid, blanked=True)
        if task.other != task.source:
            others = [word for word in words(task.other) if valid[word.start : word.end].all()]
            readings[SHUFFLED] = read_words(network, mouths[REAL], others, valid)
    else:
        logger.warning("%s: left out, without a face", task.source.name)
    order = [name for name in (*BASELINES, *readings) if name in readings]
    return ClipReading(
        part=task.part,
        clip=task.source.name,
        left_out=len(words(task.source)) - len(own_words),
        readings={name: readings[name] for name in dict.fromkeys(order)},
    )
