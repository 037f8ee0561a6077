"""Scoring of one pair: every method's video is generated or read, measured, and its record written at once."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cals import hub
from cals.checkpoint import compute_weights_sha256
from cals.data.manifest import ClipSource
from cals.data.shards import convert_write_errors
from cals.errors import CheckpointError, ConfigError, MediaError, NoFaceError
from cals.evaluation.dlib_landmarks import DlibPredictor
from cals.evaluation.drives import RATE_HZ, RealClip, read_clip
from cals.evaluation.offsets import load_sync
from cals.evaluation.outputs import (
    COPY,
    REAL,
    MethodOutput,
    build_copy_output,
    build_real_output,
    find_output,
    generate_output,
    read_output,
)
from cals.evaluation.protocol.frame_records import WINDOW, FrameRecord, MetricModels, measure_frames
from cals.evaluation.protocol.options import EvaluationOptions
from cals.evaluation.protocol.pairs import Pair, PairList, find_clips
from cals.evaluation.protocol.side_by_side import write_view
from cals.evaluation.protocol.strips import write_strip
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.inference.lipsync import LipSync
from cals.inference.score import SyncScorer
from cals.media.audio import load_mono

logger = logging.getLogger(__name__)

MIN_FRAMES = 25
"""Fewest usable frames of a video that is scored: correlations over less than a second say little."""
RECORDS = "records"
_FORMAT = 2
"""Version of the records; those of another version are measured again."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(EvaluationOptions):
    """Methods that are compared, and the models that score them."""

    models: tuple[tuple[str, str], ...] = ()
    """Names in the tables, and registered names or checkpoint folders."""
    generated: tuple[tuple[str, Path], ...] = ()
    """Names in the tables, and folders of videos called by the pairs' ids."""

    def __post_init__(self) -> None:
        names = [name for name, _ in (*self.models, *self.generated)]
        odd = [name for name in names if not name.strip(".") or name in (REAL, COPY) or set(name) & set('/\\:*?"<>|')]
        if odd or len(set(names)) < len(names):
            raise ConfigError(
                f"methods: expected names that differ, other than {REAL} and {COPY} and fit for a folder, found "
                f"{', '.join(names)}; give names, as in --model NAME=FOLDER"
            )
        if not names:
            raise ConfigError(
                "methods: expected a model or a folder of videos, found none; give --model or --generated"
            )
        if self.processes < (0 if self.ray else 1) or self.shown < 0:
            raise ConfigError(
                f"workers, shown: expected 1 or more and 0 or more, found {self.workers} and {self.shown}; give others"
            )

    @property
    def processes(self) -> int:
        """Number of processes; 0 stands for all processors of a cluster."""
        return (0 if self.ray else 1) if self.workers is None else self.workers

    @property
    def methods(self) -> tuple[str, ...]:
        """Real first, then what was asked for, then the baseline."""
        return (REAL, *(name for name, _ in (*self.models, *self.generated)), *((COPY,) if self.copy else ()))


@dataclass
class Outcome:
    """Outcome of scoring a pair."""

    pair: str
    left_out: str = ""
    """Reason why no method could be scored."""
    failed: dict[str, str] = field(default_factory=dict)
    """Method -> reason why it has no result."""


class PairScorer:
    """Loaded models that score pairs; one for each process."""

    def __init__(self, config: EvaluationConfig, corpus: Path, out: Path, pairs: PairList) -> None:
        self._config, self.out, self._seconds = config, out, pairs.seconds
        self._sources: dict[str, ClipSource] = find_clips(corpus)
        self._shown = {pair.id for pair in pairs.select_first(config.shown)}
        self.lips = {name: self._load(model) for name, model in config.models}
        scorer = SyncScorer(
            sync=config.sync, syncnet=config.syncnet, face_models=config.face_models, device=config.device
        )
        shipped = hub.BUILTIN_WEIGHTS / hub.DEFAULT_MODEL / "sync"
        sync_model = load_sync(config.sync or shipped)
        self._features = compute_weights_sha256(config.sync or shipped)[:12]
        dlib = None if config.dlib is None else DlibPredictor(config.dlib)
        self.metric_models = MetricModels(scorer.encoders, sync_model.visual, dlib)
        if (scorer.encoders.frames, sync_model.config.frames) != (WINDOW, WINDOW):
            raise CheckpointError(f"sync: expected encoders of {WINDOW} frames, found others; name others as --sync")
        self.detector = BlazeFaceMesh(FaceModels(*hub.read_face_models(config.face_models)))

    def _load(self, model: str) -> LipSync:
        config = self._config
        return LipSync(model, face_models=config.face_models, device=config.device, batch=config.batch)

    def locate_record(self, pair: Pair, method: str) -> Path:
        """Return the path of the record of a method on a pair; its view lies beside it."""
        return self.out / RECORDS / method / f"{pair.id}.npz"

    def locate_view(self, pair: Pair, method: str) -> Path:
        """Return the path of the video of the square around the face, for pairs that are shown."""
        return self.locate_record(pair, method).with_suffix(".mp4")

    def locate_strip(self, pair: Pair, method: str) -> Path:
        """Return the path of the row of the contact sheet, for rolled pairs."""
        return self.locate_record(pair, method).with_suffix(".png")

    def build_keys(self, pair: Pair) -> dict[str, dict[str, Any]]:
        """Build the key of each method's record: its inputs and models; a missing generated video has none."""
        sound = self.out / pair.sound
        common: dict[str, Any] = {
            "format": _FORMAT,
            "encoders": self.metric_models.encoders.name,
            "syncnet": None if self._config.syncnet is None else read_stamp(self._config.syncnet),
            "features": self._features,
            "dlib": None if self._config.dlib is None else read_stamp(self._config.dlib),
            "seconds": self._seconds,
            "face": read_stamp(self._sources[pair.face].video),
            "sound": hashlib.sha256(sound.read_bytes()).hexdigest()[:12],
        } | ({"kind": "rolled"} if pair.kind == "rolled" else {})
        keys = {REAL: common}
        keys |= {name: common | {"model": lips.model.fingerprint} for name, lips in self.lips.items()}
        for name, folder in self._config.generated:
            video = find_output(folder, *pair.names)
            if video is not None:
                keys[name] = common | {"video": read_stamp(video)}
        return keys | ({COPY: common | {"copy": 1}} if self._config.copy else {})

    def read_records(self, pair: Pair) -> dict[str, FrameRecord]:
        """Read the records of a pair so far, by method."""
        records = {
            name: FrameRecord.read(self.locate_record(pair, name), key) for name, key in self.build_keys(pair).items()
        }
        return {name: record for name, record in records.items() if record is not None}

    def score(self, pair: Pair) -> Outcome:
        """Measure the methods that have no record yet; those that cannot be measured are reported as failed."""
        outcome = Outcome(pair.id)
        if not (self.out / pair.sound).is_file():
            outcome.left_out = "its sound cannot be read"
            return outcome
        keys, records = self.build_keys(pair), self.read_records(pair)
        for name in self._config.methods:
            if name not in keys:
                outcome.failed[name] = "no video of this pair"
        if REAL in records and records[REAL].valid.sum() < MIN_FRAMES:
            outcome.left_out = _describe_faces(records[REAL])
            return outcome
        missing = [name for name in keys if name not in records or not self._is_shown(pair, name)]
        if missing:
            with convert_write_errors(self.out):
                self._measure(pair, missing, keys, outcome)
        return outcome

    def _is_shown(self, pair: Pair, method: str) -> bool:
        """Return whether the files exist that a report shows of a method."""
        paths = [self.locate_view(pair, method)] if pair.id in self._shown else []
        paths += [self.locate_strip(pair, method)] if pair.kind == "rolled" else []
        return all(path.is_file() for path in paths)

    def _measure(self, pair: Pair, methods: list[str], keys: dict[str, dict[str, Any]], outcome: Outcome) -> None:
        sound = self.out / pair.sound
        try:
            duration_s = len(load_mono(sound, RATE_HZ)) / RATE_HZ
            clip = read_clip(self._sources[pair.face], self.detector, duration_s)
        except MediaError as error:
            outcome.left_out = str(error)
            return
        is_usable = clip.faces.valid.sum() >= MIN_FRAMES
        for name in methods if is_usable else [REAL]:
            try:
                shown = self._generate(pair, name, clip, sound)
            except (MediaError, NoFaceError) as error:
                logger.warning("%s: %s failed: %s", pair.id, name, error)
                outcome.failed[name] = str(error)
                continue
            # the real clip is in sync with its own sound only
            own_sound = None if name == REAL and pair.kind != "self" else sound
            pixels, rolled = name != REAL and pair.kind == "self", pair.kind == "rolled"
            if is_usable and pair.id in self._shown:
                write_view(self.locate_view(pair, name), clip, [item.frame for item in shown.frames])
            if is_usable and rolled:
                write_strip(self.locate_strip(pair, name), clip, shown, with_target=name == REAL)
            record = measure_frames(
                clip, shown, own_sound, self.metric_models, keys[name], pixels=pixels, rolled=rolled
            )
            record.save(self.locate_record(pair, name))
            if not is_usable:
                outcome.left_out = _describe_faces(record)

    def _generate(self, pair: Pair, name: str, clip: RealClip, sound: Path) -> MethodOutput:
        generators: dict[str, Callable[[], MethodOutput]] = {
            REAL: lambda: build_real_output(clip),
            COPY: lambda: build_copy_output(clip, self.detector),
        }
        if name in generators:
            return generators[name]()
        if name in self.lips:
            return generate_output(clip, sound, self.lips[name], self.detector)
        video = find_output(dict(self._config.generated)[name], *pair.names)
        if video is None:  # deleted since the keys were built
            raise MediaError(f"{pair.id}: expected a video of {name}, found none any more; make it again")
        return read_output(clip, video, self.detector)


def _describe_faces(record: FrameRecord) -> str:
    return f"a face in {record.valid.sum()} of {len(record.valid)} frames"


def read_stamp(path: Path) -> list[int]:
    """Return size and modification time of a file, as JSON restores them."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
