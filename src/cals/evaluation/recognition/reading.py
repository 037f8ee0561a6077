"""Every system on every condition of a clip, all of them on the same corrupted pictures and sound."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cals.data.store import split_names
from cals.data.utterances import Utterance, UtteranceBatch, UtteranceStore, build_batch
from cals.data.words import Cut
from cals.errors import DataError
from cals.evaluation.clips import evenly
from cals.evaluation.entrants import REAL
from cals.evaluation.recognition.conditions import Condition, WerConfig, build_conditions
from cals.evaluation.recognition.records import ClipRecord, FrameScores
from cals.evaluation.recognition.systems import Network, System, read_clip
from cals.evaluation.recognition.videos import Videos
from cals.evaluation.studies.common import ALL
from cals.models.avsr.tokens import normalize_text
from cals.types import F32

VOICES = 6
"""Other clips that babble is mixed from."""
_DIGITS = 4
"""Of a score that is kept."""


@dataclass(frozen=True)
class Task:
    """A clip to read: its part, and its number and key in that part's store."""

    part: str
    index: int
    key: str


class _Shape(NamedTuple):
    """Which part of a crop a network is shown, and how large."""

    cut: Cut
    mouth_px: int


class ClipReader:
    """Prepared clips of a corpus, and the systems that read them.

    With `videos` their pictures are read in place of the corruptions, beside the prepared ones. Raises DataError for a
    part in which no clip's text is known.
    """

    def __init__(
        self,
        corpus: Path,
        splits: Path | None,
        systems: Sequence[System],
        config: WerConfig,
        videos: Videos | None = None,
    ) -> None:
        self.systems, self._config, self._videos = systems, config, videos
        self.conditions = build_conditions(config)
        if videos is not None:
            self.conditions = tuple(Condition(kind=name) for name in (REAL, *videos.names))
        shapes = {_shape_of(system) for system in systems}
        self._stores: dict[str, dict[_Shape, UtteranceStore]] = {}
        for part in config.parts if splits is not None else (ALL,):
            names = None if splits is None else split_names(splits, part)
            stores = {shape: UtteranceStore(corpus, names, **shape._asdict()) for shape in shapes}
            if not all(map(len, stores.values())):
                raise DataError(
                    f"{corpus}: expected clips of the part {part!r} whose text is known, found none; name other parts, "
                    "or prepare the corpus again with its transcripts"
                )
            self._stores[part] = stores

    def tasks(self) -> list[Task]:
        """The clips to read, part by part; DataError where one of them lacks a video."""
        found = []
        for part in self._stores:
            store = self._store(part)
            indices = evenly(range(len(store)), self._config.clips)
            found += [Task(part, index, store.keys[index]) for index in indices]
            if self._videos is not None:
                self._videos.check([str(store.facts[index]["clip"]) for index in indices])
        return found

    @property
    def skipped(self) -> dict[str, int]:
        """Clips of each part whose text is not known."""
        return {part: self._store(part).skipped for part in self._stores}

    def read(self, task: Task) -> ClipRecord:
        """Read one clip."""
        readings: dict[str, dict[str, list[str]]] = {}
        scores: dict[str, dict[str, dict[str, list[FrameScores]]]] = {}
        known: dict[object, tuple[str, dict[str, F32]]] = {}
        for condition in self.conditions:
            texts = readings[condition.name] = {system.name: [] for system in self.systems}
            trust = scores[condition.name] = {system.name: {} for system in self.systems if system.has_scores}
            for seed in self._config.seeds:
                batches: dict[tuple[_Shape, int], UtteranceBatch] = {}
                for system in self.systems:
                    view = _shape_of(system), system.config.view_px
                    if view not in batches:
                        batches[view] = self._batch(task, condition, seed, *view)
                    for network in system.networks:
                        text, heard = self._read(network, system, batches[view], condition, known)
                        texts[system.name].append(text)
                        if system.has_scores:
                            _keep_scores(trust[system.name], heard, batches[view])
        said = normalize_text(self._store(task.part).texts[task.index])
        scores = {name: trust for name, trust in scores.items() if any(trust.values())}
        return ClipRecord(part=task.part, clip=task.key, said=said, readings=readings, scores=scores)

    def _batch(self, task: Task, condition: Condition, seed: int, shape: _Shape, view_px: int) -> UtteranceBatch:
        """The clip as one kind of network is shown it: with the same bursts as all others are."""
        rng = np.random.default_rng([seed, zlib.crc32(task.key.encode())])
        babble = [] if condition.config is None else self._babble(task, seed)
        utterance = self._utterance(task, condition, shape)
        return build_batch([utterance], rng, condition.config, view_px, babble=babble)

    def _utterance(self, task: Task, condition: Condition, shape: _Shape) -> Utterance:
        store = self._stores[task.part][shape]
        utterance, facts = store[task.index], store.facts[task.index]
        if self._videos is None or condition.kind == REAL:
            return utterance
        first = int(facts.get("start_frame", 0))
        return replace(
            utterance, mouth=self._videos.mouths(condition.kind, facts["clip"], first, len(utterance.mouth), *shape)
        )

    def _babble(self, task: Task, seed: int) -> list[F32]:
        """Sound of other clips of the part, the same however many clips are read."""
        store = self._store(task.part)
        rng = np.random.default_rng([seed, zlib.crc32(task.key.encode()), VOICES])
        others = np.delete(np.arange(len(store)), task.index)
        return [store[int(index)].wav for index in rng.permutation(others)[:VOICES]]

    def _read(
        self,
        network: Network,
        system: System,
        batch: UtteranceBatch,
        condition: Condition,
        known: dict[object, tuple[str, dict[str, F32]]],
    ) -> tuple[str, dict[str, F32]]:
        """What a network reads; what reaches it as it did under another condition is not read again."""
        (corruption,) = batch.corruptions
        heard = None if system.streams == "video" else corruption.audio
        # whose pictures these are: the clip's own, or those of other videos
        pictures = condition.kind if condition.config is None else self.conditions[0].kind
        seen = None if system.streams == "audio" else (pictures, corruption.video)
        key = (network.folder, system.streams, heard, seen)
        if key not in known:
            known[key] = read_clip(network, system.streams, batch, self._config.beam)
        return known[key]

    def _store(self, part: str) -> UtteranceStore:
        """The clips of a part in any shape: what is the same in all."""
        return next(iter(self._stores[part].values()))


def _shape_of(system: System) -> _Shape:
    return _Shape(system.config.cut, system.config.mouth_px)


def _keep_scores(trust: dict[str, list[FrameScores]], heard: dict[str, F32], batch: UtteranceBatch) -> None:
    """Add the scores of the streams that are corrupted, rounded, so that a run that goes on says the same."""
    (corruption,) = batch.corruptions
    for stream, bursts in (("audio", corruption.audio), ("video", corruption.video)):
        if bursts:
            scores = [round(float(score), _DIGITS) for score in heard[stream]]
            spans = [(burst.start, burst.end) for burst in bursts]
            trust.setdefault(stream, []).append(FrameScores(scores=scores, bursts=spans))
