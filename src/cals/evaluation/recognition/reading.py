"""Readings of a clip by every system under every condition, all of the same corrupted pictures and sound."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cals.data.store import load_split_names
from cals.data.utterances import Utterance, UtteranceBatch, UtteranceStore, build_batch
from cals.data.words import Cut
from cals.errors import DataError
from cals.evaluation.clips import sample_evenly
from cals.evaluation.outputs import REAL
from cals.evaluation.recognition.conditions import Condition, WerConfig, build_conditions
from cals.evaluation.recognition.records import ClipRecord, FrameScores
from cals.evaluation.recognition.systems import Network, System, read_clip
from cals.evaluation.recognition.videos import Videos
from cals.evaluation.studies.common import ALL
from cals.models.avsr.tokens import normalize_text
from cals.types import F32

VOICES = 6
"""Other clips from which babble is mixed."""
_DIGITS = 4
"""Decimals of a stored score."""


@dataclass(frozen=True)
class Task:
    """A clip to read: its part, and its number and key in that part's store."""

    part: str
    index: int
    key: str


class _Cut(NamedTuple):
    """Part of a crop that a network sees, and its size."""

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
        shapes = {_get_cut(system) for system in systems}
        self._stores: dict[str, dict[_Cut, UtteranceStore]] = {}
        for part in config.parts if splits is not None else (ALL,):
            names = None if splits is None else load_split_names(splits, part)
            stores = {shape: UtteranceStore(corpus, names, **shape._asdict()) for shape in shapes}
            if not all(map(len, stores.values())):
                raise DataError(
                    f"{corpus}: expected clips of the part {part!r} whose text is known, found none; name other parts, "
                    "or prepare the corpus again with its transcripts"
                )
            self._stores[part] = stores

    def tasks(self) -> list[Task]:
        """List the clips to read, part by part; DataError where one of them lacks a video."""
        tasks = []
        for part in self._stores:
            store = self._store(part)
            indices = sample_evenly(range(len(store)), self._config.clips)
            tasks += [Task(part, index, store.keys[index]) for index in indices]
            if self._videos is not None:
                self._videos.check([str(store.facts[index]["clip"]) for index in indices])
        return tasks

    @property
    def skipped(self) -> dict[str, int]:
        """Clips of each part whose text is not known."""
        return {part: self._store(part).skipped for part in self._stores}

    def read(self, task: Task) -> ClipRecord:
        """Read one clip."""
        readings: dict[str, dict[str, list[str]]] = {}
        scores: dict[str, dict[str, dict[str, list[FrameScores]]]] = {}
        cache: dict[object, tuple[str, dict[str, F32]]] = {}
        for condition in self.conditions:
            texts = readings[condition.name] = {system.name: [] for system in self.systems}
            condition_scores = scores[condition.name] = {
                system.name: {} for system in self.systems if system.has_scores
            }
            for seed in self._config.seeds:
                batches: dict[tuple[_Cut, int], UtteranceBatch] = {}
                for system in self.systems:
                    view = _get_cut(system), system.config.view_px
                    if view not in batches:
                        batches[view] = self._build_batch(task, condition, seed, *view)
                    for network in system.networks:
                        text, reliability = self._read(network, system, batches[view], condition, cache)
                        texts[system.name].append(text)
                        if system.has_scores:
                            _keep_scores(condition_scores[system.name], reliability, batches[view])
        reference = normalize_text(self._store(task.part).texts[task.index])
        scores = {name: condition_scores for name, condition_scores in scores.items() if any(condition_scores.values())}
        return ClipRecord(part=task.part, clip=task.key, said=reference, readings=readings, scores=scores)

    def _build_batch(self, task: Task, condition: Condition, seed: int, shape: _Cut, view_px: int) -> UtteranceBatch:
        """Build the input of one kind of network: with the same bursts as for all others."""
        rng = np.random.default_rng([seed, zlib.crc32(task.key.encode())])
        babble = [] if condition.config is None else self._sample_babble(task, seed)
        utterance = self._load_utterance(task, condition, shape)
        return build_batch([utterance], rng, condition.config, view_px, babble=babble)

    def _load_utterance(self, task: Task, condition: Condition, shape: _Cut) -> Utterance:
        store = self._stores[task.part][shape]
        utterance, facts = store[task.index], store.facts[task.index]
        if self._videos is None or condition.kind == REAL:
            return utterance
        first = int(facts.get("start_frame", 0))
        return replace(
            utterance,
            mouth=self._videos.read_mouths(condition.kind, facts["clip"], first, len(utterance.mouth), *shape),
        )

    def _sample_babble(self, task: Task, seed: int) -> list[F32]:
        """Sample the sound of other clips of the part, the same however many clips are read."""
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
        cache: dict[object, tuple[str, dict[str, F32]]],
    ) -> tuple[str, dict[str, F32]]:
        """Read a batch by a network; an input that it had under another condition is taken from `cache`."""
        (corruption,) = batch.corruptions
        audio = None if system.streams == "video" else corruption.audio
        # whose pictures these are: the clip's own, or those of other videos
        pictures = condition.kind if condition.config is None else self.conditions[0].kind
        video = None if system.streams == "audio" else (pictures, corruption.video)
        key = (network.folder, system.streams, audio, video)
        if key not in cache:
            cache[key] = read_clip(network, system.streams, batch, self._config.beam)
        return cache[key]

    def _store(self, part: str) -> UtteranceStore:
        """Return the clips of a part in any cut: for what is the same in all."""
        return next(iter(self._stores[part].values()))


def _get_cut(system: System) -> _Cut:
    return _Cut(system.config.cut, system.config.mouth_px)


def _keep_scores(kept: dict[str, list[FrameScores]], reliability: dict[str, F32], batch: UtteranceBatch) -> None:
    """Add the scores of the corrupted streams, rounded, so that a resumed run gives the same."""
    (corruption,) = batch.corruptions
    for stream, bursts in (("audio", corruption.audio), ("video", corruption.video)):
        if bursts:
            scores = [round(float(score), _DIGITS) for score in reliability[stream]]
            spans = [(burst.start, burst.end) for burst in bursts]
            kept.setdefault(stream, []).append(FrameScores(scores=scores, bursts=spans))
