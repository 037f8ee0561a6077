"""The lip reader: word classification, trained on real faces and words with known times."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cals.checkpoint import Checkpoint
from cals.data.augment import FaceAugment
from cals.data.words import WordBatch, WordStore, collate_words, sample_words
from cals.errors import ConfigError, DataError
from cals.metrics.accuracy import accuracy, argmax_where
from cals.models.factory import to_checkpoint
from cals.models.reader import BLANK, LipReader, ReaderConfig
from cals.training.config import TrainConfig
from cals.training.stage import Losses, Stage

VALIDATION_BATCH = 8
"""Batch size of validation, in clips."""


@dataclass(frozen=True, kw_only=True)
class ReaderStageConfig:
    """Batch and augmentation."""

    model: ReaderConfig = field(default_factory=ReaderConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    clips: int = 8
    """Each with all its words: six of GRID's."""
    face: FaceAugment = field(default_factory=lambda: FaceAugment(shift=0.08, blur=0.1, noise=0.1, jpeg=0.05))
    jitter: int = 1
    """Largest shift of either end of a word, in frames."""
    blanked: float = 0.1
    """Share of words whose own frames are masked.

    The network learns to guess them from the context, so that its accuracy on blanked words measures the context alone.
    """
    smoothing: float = 0.1
    """Label smoothing."""

    def __post_init__(self) -> None:
        if self.clips < 1 or self.jitter < 0 or not (0 <= self.blanked < 1 and 0 <= self.smoothing < 1):
            raise ConfigError(
                f"reader: expected clips, jitter >= 0, and blanked and smoothing in 0..1, found {self.clips}, "
                f"{self.jitter}, {self.blanked} and {self.smoothing}"
            )


class ReaderStage(Stage):
    """Training with cross-entropy over the vocabulary; parts without words are skipped in validation."""

    name = "reader"

    def __init__(self, config: ReaderStageConfig, training: WordStore, held_out: dict[str, WordStore]) -> None:
        if not len(training):
            raise DataError(
                f"corpus: expected clips with words of {', '.join(config.model.words[:3])} ... and their times, found "
                f"none in {training.skipped}; put .align files beside the videos and prepare it again"
            )
        self.config, self.train = config, config.train
        self.model = LipReader(config.model)
        self._training, self._held_out = training, {part: store for part, store in held_out.items() if len(store)}
        self._label_by_word = {word: number for number, word in enumerate(config.model.words)}

    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """Compute the cross-entropy of one batch; `accuracy` is that of words that are not blanked."""
        config = self.config
        batch = sample_words(
            self._training,
            rng,
            config.face,
            clips=config.clips,
            jitter=config.jitter,
            context=config.model.context,
            blank=BLANK,
        )
        blanked = torch.from_numpy(rng.random(len(batch.texts)) < config.blanked)
        index = batch.index.masked_fill(blanked[:, None] & batch.word_mask, BLANK)
        scores = model(batch.mouths.to(device).float() / 255, index.to(device), batch.word_mask.to(device)).float()
        labels = self._build_labels(batch).to(device)
        correct = (scores.detach().argmax(dim=1) == labels).float()
        visible = (~blanked).to(device).float()
        return {
            "total": cross_entropy(scores, labels, label_smoothing=config.smoothing),
            "accuracy": (correct * visible).sum() / visible.sum().clamp_min(1),
        }

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Compute, for each held-out part, accuracy of all words, by slot, and with their own frames blanked; and loss.

        `*_in_slot` chooses among the words of the correct slot only.
        """
        assert isinstance(model, LipReader)
        metrics: dict[str, float] = {}
        for part, store in self._held_out.items():
            batches = [
                collate_words([(clip.mouth, clip.words) for clip in clips], self.config.model.context, BLANK)
                for clips in _group_clips(store)
            ]
            labels = torch.cat([self._build_labels(batch) for batch in batches]).numpy()
            visible, blanked = (
                torch.cat([self._compute_logits(model, batch, device, blank) for batch in batches])
                for blank in (False, True)
            )
            metrics |= {f"{part}_{name}": value for name, value in self._summarize(visible.numpy(), labels).items()}
            metrics[f"{part}_blanked"] = accuracy(blanked.numpy().argmax(axis=1), labels)
            metrics[f"{part}_loss"] = float(cross_entropy(visible, torch.from_numpy(labels)))
        return metrics

    def _summarize(self, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        config = self.config.model
        slot_of = np.array([config.slot_of[word] for word in config.words])
        slots, pred = slot_of[labels], scores.argmax(axis=1)
        by_slot = {slot: accuracy(pred[slots == slot], labels[slots == slot]) for slot in config.slots if slot in slots}
        pred_in_slot = argmax_where(scores, slot_of[None] == slots[:, None])
        return {"accuracy": accuracy(pred, labels), "in_slot": accuracy(pred_in_slot, labels)} | by_slot

    def _build_labels(self, batch: WordBatch) -> Tensor:
        return torch.tensor([self._label_by_word[text] for text in batch.texts])

    @staticmethod
    def _compute_logits(model: LipReader, batch: WordBatch, device: torch.device, blank: bool) -> Tensor:
        index = batch.index.masked_fill(batch.word_mask, BLANK) if blank else batch.index
        scores: Tensor = model(batch.mouths.to(device).float() / 255, index.to(device), batch.word_mask.to(device))
        return scores.float().cpu()

    def build_checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """Pack the reader into the checkpoint that `cals readability` loads."""
        return to_checkpoint(model, step=step, metrics=metrics)

    def describe_run(self) -> dict[str, Any]:
        """Return the numbers of clips, words and parameters."""
        return {
            "clips": len(self._training),
            "words": self._training.count,
            "vocabulary": len(self._label_by_word),
            "without_words": self._training.skipped,
            "held_out": {part: store.count for part, store in self._held_out.items()},
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
        }


def _group_clips(store: WordStore) -> list[list[Any]]:
    clips = [store[i] for i in range(len(store))]
    return [clips[first : first + VALIDATION_BATCH] for first in range(0, len(clips), VALIDATION_BATCH)]
