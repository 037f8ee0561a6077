"""The lip reader: which word a mouth says, learnt from real faces and words with known times."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cals.checkpoint import Checkpoint
from cals.data.augment import FaceAugment
from cals.data.words import WordBatch, WordStore, drawn_words, joined
from cals.errors import ConfigError, DataError
from cals.metrics.accuracy import accuracy, chosen_among
from cals.models.reader import BLANK, Reader, ReaderConfig
from cals.training.config import TrainConfig
from cals.training.stage import Losses, Stage

VALIDATED_CLIPS = 8
"""Clips read at once."""


@dataclass(frozen=True, kw_only=True)
class ReaderStageConfig:
    """Clips a batch, and how they are varied."""

    model: ReaderConfig = field(default_factory=ReaderConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    clips: int = 8
    """Each with all its words: six of GRID's."""
    face: FaceAugment = field(default_factory=lambda: FaceAugment(shift=0.08, blur=0.1, noise=0.1, jpeg=0.05))
    jitter: int = 1
    """Frames by which either end of a word is moved."""
    blanked: float = 0.1
    """Share of words whose own frames are hidden: the network learns to guess from the context alone what it can, so
    that its accuracy on blanked words says what the context gives away."""
    smoothing: float = 0.1
    """Of the labels."""

    def __post_init__(self) -> None:
        if self.clips < 1 or self.jitter < 0 or not (0 <= self.blanked < 1 and 0 <= self.smoothing < 1):
            raise ConfigError(
                f"reader: expected clips, jitter >= 0, and blanked and smoothing in 0..1, found {self.clips}, "
                f"{self.jitter}, {self.blanked} and {self.smoothing}"
            )


class ReaderStage(Stage):
    """Cross-entropy over the vocabulary; a part without words is not validated on."""

    name = "reader"

    def __init__(self, config: ReaderStageConfig, training: WordStore, held_out: dict[str, WordStore]) -> None:
        if not len(training):
            raise DataError(
                f"corpus: expected clips with words of {', '.join(config.model.words[:3])} ... and their times, found "
                f"none in {training.skipped}; put .align files beside the videos and prepare it again"
            )
        self.config, self.train = config, config.train
        self.model = Reader(config.model)
        self._training, self._held_out = training, {part: store for part, store in held_out.items() if len(store)}
        self._label = {word: number for number, word in enumerate(config.model.words)}

    def losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """Cross-entropy of one batch; `accuracy` is of the words that are not blanked."""
        config = self.config
        batch = drawn_words(
            self._training,
            rng,
            config.face,
            clips=config.clips,
            jitter=config.jitter,
            context=config.model.context,
            blank=BLANK,
        )
        hidden = torch.from_numpy(rng.random(len(batch.texts)) < config.blanked)
        index = batch.index.masked_fill(hidden[:, None] & batch.own, BLANK)
        scores = model(batch.mouths.to(device).float() / 255, index.to(device), batch.own.to(device)).float()
        labels = self._labels(batch).to(device)
        right = (scores.detach().argmax(dim=1) == labels).float()
        shown = (~hidden).to(device).float()
        return {
            "total": cross_entropy(scores, labels, label_smoothing=config.smoothing),
            "accuracy": (right * shown).sum() / shown.sum().clamp_min(1),
        }

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """For each held-out part: share of words read right, of all and by slot; with their own frames blanked; loss.

        `*_in_slot` chooses among the words of the right slot only.
        """
        assert isinstance(model, Reader)
        metrics: dict[str, float] = {}
        for part, store in self._held_out.items():
            batches = [
                joined([(clip.mouth, clip.words) for clip in clips], self.config.model.context, BLANK)
                for clips in _in_groups(store)
            ]
            labels = torch.cat([self._labels(batch) for batch in batches]).numpy()
            shown, blanked = (
                torch.cat([self._scores(model, batch, device, blank) for batch in batches]) for blank in (False, True)
            )
            metrics |= {f"{part}_{name}": value for name, value in self._summary(shown.numpy(), labels).items()}
            metrics[f"{part}_blanked"] = accuracy(blanked.numpy().argmax(axis=1), labels)
            metrics[f"{part}_loss"] = float(cross_entropy(shown, torch.from_numpy(labels)))
        return metrics

    def _summary(self, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        config = self.config.model
        slot_of = np.array([config.slot_of[word] for word in config.words])
        slots, read = slot_of[labels], scores.argmax(axis=1)
        found = {slot: accuracy(read[slots == slot], labels[slots == slot]) for slot in config.slots if slot in slots}
        within = chosen_among(scores, slot_of[None] == slots[:, None])
        return {"accuracy": accuracy(read, labels), "in_slot": accuracy(within, labels)} | found

    def _labels(self, batch: WordBatch) -> Tensor:
        return torch.tensor([self._label[text] for text in batch.texts])

    @staticmethod
    def _scores(model: Reader, batch: WordBatch, device: torch.device, blank: bool) -> Tensor:
        index = batch.index.masked_fill(batch.own, BLANK) if blank else batch.index
        scores: Tensor = model(batch.mouths.to(device).float() / 255, index.to(device), batch.own.to(device))
        return scores.float().cpu()

    def checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """The reader, as `cals readability` loads it."""
        return Checkpoint(
            kind="reader",
            config=dataclasses.asdict(self.config.model),
            weights=dict(model.state_dict()),
            step=step,
            metrics=metrics,
        )

    def facts(self) -> dict[str, Any]:
        """The run's setting in numbers."""
        return {
            "clips": len(self._training),
            "words": self._training.count,
            "vocabulary": len(self._label),
            "without_words": self._training.skipped,
            "held_out": {part: store.count for part, store in self._held_out.items()},
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
        }


def _in_groups(store: WordStore) -> list[list[Any]]:
    clips = [store[i] for i in range(len(store))]
    return [clips[first : first + VALIDATED_CLIPS] for first in range(0, len(clips), VALIDATED_CLIPS)]
