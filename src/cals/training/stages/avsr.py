"""The recogniser: CTC and attention over two streams, either or both of them corrupted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cals.checkpoint import Checkpoint
from cals.data.augment import FaceAugment
from cals.data.corruption.config import TESTING, TRAINING, CorruptionConfig
from cals.data.utterances import Utterance, UtteranceBatch, UtteranceStore, build_batch, cut_words, sample_utterances
from cals.errors import ConfigError
from cals.losses.recognition import IGNORED, batch_ctc, shift_tokens
from cals.metrics.reliability import ReliabilityScores
from cals.metrics.wer import word_error_rate
from cals.models.avsr.beam import BeamConfig
from cals.models.avsr.config import AVSRConfig
from cals.models.avsr.language import fit_ngram
from cals.models.avsr.network import AVSR, STREAMS
from cals.models.avsr.recognize import recognize
from cals.models.avsr.release import avsr_to_checkpoint
from cals.models.avsr.tokens import Unit
from cals.training.config import TrainConfig
from cals.training.stage import Losses, Stage

VALIDATED = 60
"""Clips of a part that are read at every validation, at most,"""
AT_ONCE = 8
"""and how many at once."""


@dataclass(frozen=True, kw_only=True)
class AVSRStageConfig:
    """Weights of the losses as published ([A]); batches and augmentation are ours."""

    model: AVSRConfig = field(default_factory=AVSRConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    unit: Unit = "characters"
    """What the tokens are made of: characters or words of the training texts."""
    clips: int = 8
    pieces: float = 0.5
    """Share of the batches that are made of pieces of 1 to `most_words` words, where the times of words are known:
    short ones are learnt first, as LRS2's are commonly trained from single words on ([D]), and say nothing of how
    sentences are built."""
    most_words: int = 3
    ctc_weight: float = 0.1
    smoothing: float = 0.1
    """Of the attention's labels."""
    missing: float = 0.1
    """Share of the clips of which one stream or the other is not there at all, so that one alone can be read too."""
    frozen_front_ends: bool = False
    """Whether front-ends that were trained before stay as they are: a third of the time, and the same for all that are
    compared."""
    corruption: CorruptionConfig = TRAINING
    test: CorruptionConfig = TESTING
    """What validation corrupts with."""
    face: FaceAugment = field(default_factory=lambda: FaceAugment(shift=0.0, turn_deg=5.0, flip=True))
    language_order: int = 4
    """Tokens that the language model of the training texts counts together."""
    beam: BeamConfig = field(default_factory=lambda: BeamConfig(beam=4, language_weight=0.0))
    """Of validation."""

    def __post_init__(self) -> None:
        shares = (self.ctc_weight, self.smoothing, self.missing, self.pieces)
        if min(self.clips, self.most_words) < 1 or not all(0 <= share <= 1 for share in shares):
            raise ConfigError(
                "avsr: expected 1 or more clips and most_words, and ctc_weight, smoothing, missing and pieces in 0..1, "
                f"found {self.clips} and {self.most_words}, and {', '.join(map(str, shares))}"
            )


class AVSRStage(Stage):
    """0.1 CTC and 0.9 attention; validation reads clean and corrupted clips by beam search."""

    name = "avsr"

    def __init__(
        self,
        config: AVSRStageConfig,
        model: AVSR,
        training: UtteranceStore,
        held_out: dict[str, UtteranceStore],
        parents: dict[str, str],
    ) -> None:
        self.config, self.train, self.model = config, config.train, model
        self._training, self._held_out = training, {part: store for part, store in held_out.items() if len(store)}
        self._parents = parents
        tokens = config.model.tokens
        sentences = [tokens.encode(text) for text in training.texts]
        self._has_times = any(facts.get("words") for facts in training.facts)  # else pieces would be whole clips
        self._mean_words = sum(len(text.split()) for text in training.texts) / len(training)
        self._language = fit_ngram(sentences, config.language_order, tokens.size)

    def losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """CTC and attention losses of one batch; `accuracy` is of the tokens, told those before them."""
        config, tokens = self.config, self.config.model.tokens
        utterances = self._sample(rng)
        batch = build_batch(
            utterances, rng, config.corruption, config.model.view_px, config.face, has_video=config.model.has_video
        )
        labels = [tokens.encode(text) for text in batch.texts]
        before, after = shift_tokens(labels, tokens.end)
        present = self._present(len(utterances), rng, device)
        log_probs, logits = model(*self._inputs(batch, device), before.to(device), present)
        ctc = batch_ctc(log_probs, batch.valid, labels)
        after = after.to(device)
        attention = cross_entropy(
            logits.float().flatten(0, 1), after.flatten(), label_smoothing=config.smoothing, ignore_index=IGNORED
        )
        counted = after != IGNORED
        right = (logits.detach().argmax(dim=-1) == after) & counted
        return {
            "total": config.ctc_weight * ctc + (1 - config.ctc_weight) * attention,
            "ctc": ctc,
            "attention": attention,
            "accuracy": right.sum() / counted.sum(),
        }

    def _sample(self, rng: np.random.Generator) -> list[Utterance]:
        """Whole utterances, or of more of them some words each: about as much of speech."""
        config = self.config
        if not self._has_times or rng.random() >= config.pieces:
            return sample_utterances(self._training, rng, config.clips)
        count = int(rng.integers(1, config.most_words, endpoint=True))
        clips = config.clips * max(1, round(self._mean_words / count))
        return [cut_words(utterance, rng, count) for utterance in sample_utterances(self._training, rng, clips)]

    def _inputs(self, batch: UtteranceBatch, device: torch.device) -> tuple[Tensor | None, Tensor | None, Tensor]:
        model = self.config.model
        wav = batch.wav.to(device) if model.has_audio else None
        mouths = batch.mouths.to(device).float() / 255 if model.has_video else None
        return wav, mouths, batch.valid.to(device)

    def _present(self, count: int, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor] | None:
        """Which clips have which stream [count]."""
        if self.config.model.streams != "both":
            return None
        dropped = rng.random(count) < self.config.missing
        which = rng.integers(len(STREAMS), size=count)
        return {
            stream: torch.from_numpy(~(dropped & (which == number))).to(device) for number, stream in enumerate(STREAMS)
        }

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """For each part: word error rate of clean and of corrupted clips; how well scores tell corrupted frames."""
        assert isinstance(model, AVSR)
        metrics: dict[str, float] = {}
        for part, store in self._held_out.items():
            for name, corruption in (("wer", None), ("corrupted_wer", self.config.test)):
                pairs, scores = list[tuple[str, str]](), ReliabilityScores()
                for batch in self._held_out_batches(store, corruption):
                    encoding = model.encode(*self._inputs(batch, device))
                    found = recognize(model, encoding, self.config.beam)
                    pairs += [(text, one.text) for text, one in zip(batch.texts, found, strict=True)]
                    scores.add(encoding.scores, [done.truth for done in batch.corruptions])
                metrics[f"{part}_{name}"] = word_error_rate(pairs).rate.value
            metrics |= {f"{part}_{stream}_auc": auc for stream, auc in scores.aucs().items()}
        return metrics

    def _held_out_batches(self, store: UtteranceStore, corruption: CorruptionConfig | None) -> Iterator[UtteranceBatch]:
        rng = np.random.default_rng([self.train.seed, len(store)])  # the same every time
        count = min(VALIDATED, len(store))
        for first in range(0, count, AT_ONCE):
            utterances = [store[i] for i in range(first, min(count, first + AT_ONCE))]
            yield build_batch(utterances, rng, corruption, self.config.model.view_px)

    def checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """The recogniser and its language model, as `cals transcribe` and `cals wer` load them."""
        assert isinstance(model, AVSR)
        return avsr_to_checkpoint(model, self._language, parents=self._parents, step=step, metrics=metrics)

    def facts(self) -> dict[str, Any]:
        """The run's setting in numbers."""
        return {
            "clips": len(self._training),
            "speakers": len(set(self._training.speakers)),
            "without_text": self._training.skipped,
            "tokens": self.config.model.tokens.size,
            "held_out": {part: len(store) for part, store in self._held_out.items()},
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
        }
