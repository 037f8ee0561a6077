"""The recogniser: CTC and attention over two streams, of which either or both may be corrupted."""

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
from cals.losses.recognition import IGNORE_INDEX, batch_ctc, shift_tokens, supervise_scores
from cals.metrics.reliability import ReliabilityScores
from cals.metrics.wer import word_error_rate
from cals.models.avsr.beam import BeamConfig
from cals.models.avsr.checkpoint import avsr_to_checkpoint
from cals.models.avsr.config import AVSRConfig
from cals.models.avsr.language import fit_ngram
from cals.models.avsr.network import AVSR, STREAMS
from cals.models.avsr.recognize import recognize
from cals.models.avsr.tokens import Unit
from cals.training.config import TrainConfig
from cals.training.stage import Losses, Stage

MAX_VALIDATION_CLIPS = 60
"""Largest number of clips per part in a validation."""
VALIDATION_BATCH = 8
"""Batch size of validation."""


@dataclass(frozen=True, kw_only=True)
class AVSRStageConfig:
    """Weights of the losses as published ([A]); batches and augmentation are ours."""

    model: AVSRConfig = field(default_factory=AVSRConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    unit: Unit = "characters"
    """Unit of the tokens: characters or words of the training texts."""
    clips: int = 8
    pieces: float = 1.0
    """Share of the first batches that consist of pieces of 1 to `most_words` words, where their times are known ([D]).

    Short pieces are easier to learn, as in the usual curriculum on LRS2 that begins with single words. The share falls
    evenly to 0: a decoder that has seen nothing but pieces ends every sentence after a word or two.
    """
    pieces_until: float = 0.6
    """Share of the steps after which all batches are of whole utterances ([D])."""
    most_words: int = 3
    ctc_weight: float = 0.1
    smoothing: float = 0.1
    """Label smoothing of the attention loss."""
    reliability_weight: float = 0.0
    """Weight of the cross-entropy that teaches the scores which frames are corrupted ([D]; 0 as published).

    Without it nothing but recognition shapes the scores, and within thousands of steps they do not follow corruption.
    """
    missing: float = 0.1
    """Share of clips with one stream dropped, so that each stream alone can be recognised too."""
    frozen_front_ends: bool = False
    """Whether pretrained front-ends are frozen: it takes a third of the time, and all compared networks share them."""
    corruption: CorruptionConfig = TRAINING
    test: CorruptionConfig = TESTING
    """Corruption in validation."""
    face: FaceAugment = field(default_factory=lambda: FaceAugment(shift=0.0, turn_deg=5.0, flip=True))
    language_order: int = 4
    """Order of the n-gram language model of the training texts."""
    beam: BeamConfig = field(default_factory=lambda: BeamConfig(beam=4, language_weight=0.0))
    """Beam search of validation."""

    def __post_init__(self) -> None:
        if self.reliability_weight < 0:
            raise ConfigError(f"avsr: expected a reliability_weight of 0 or more, found {self.reliability_weight}")
        shares = (self.ctc_weight, self.smoothing, self.missing, self.pieces, self.pieces_until)
        if min(self.clips, self.most_words) < 1 or not all(0 <= share <= 1 for share in shares):
            raise ConfigError(
                "avsr: expected 1 or more clips and most_words, and ctc_weight, smoothing, missing, pieces and "
                f"pieces_until in 0..1, found {self.clips} and {self.most_words}, and {', '.join(map(str, shares))}"
            )


class AVSRStage(Stage):
    """Training with 0.1 CTC and 0.9 attention, and validation on clean and corrupted clips by beam search."""

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
        self._has_times = any(facts.get("words") for facts in training.facts)  # else pieces are whole clips
        self._mean_words = sum(len(text.split()) for text in training.texts) / len(training)
        self._language = fit_ngram(sentences, config.language_order, tokens.size)

    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """Compute the losses of one batch; `accuracy` is that of tokens under teacher forcing."""
        config, tokens = self.config, self.config.model.tokens
        utterances = self._sample(rng)
        batch = build_batch(
            utterances, rng, config.corruption, config.model.view_px, config.face, has_video=config.model.has_video
        )
        labels = [tokens.encode(text) for text in batch.texts]
        prefix, target = shift_tokens(labels, tokens.end)
        present = self._sample_present(len(utterances), rng, device)
        log_probs, logits, scores = model(*self._to_inputs(batch, device), prefix.to(device), present)
        ctc = batch_ctc(log_probs, batch.valid, labels)
        target = target.to(device)
        attention = cross_entropy(
            logits.float().flatten(0, 1), target.flatten(), label_smoothing=config.smoothing, ignore_index=IGNORE_INDEX
        )
        counted = target != IGNORE_INDEX
        correct = (logits.detach().argmax(dim=-1) == target) & counted
        losses = {
            "total": config.ctc_weight * ctc + (1 - config.ctc_weight) * attention,
            "ctc": ctc,
            "attention": attention,
            "accuracy": correct.sum() / counted.sum(),
        }
        if config.reliability_weight and scores:
            clean = {stream: mask.to(device) for stream, mask in batch.mark_clean().items()}
            if present is not None:
                clean = {stream: mask & present[stream][:, None] for stream, mask in clean.items()}
            losses["reliability"] = supervise_scores(scores, clean, batch.valid.to(device))
            losses["total"] = losses["total"] + config.reliability_weight * losses["reliability"]
        return losses

    def _sample(self, rng: np.random.Generator) -> list[Utterance]:
        """Sample whole utterances, or a few words each of more utterances: about as much speech."""
        config = self.config
        if not self._has_times or rng.random() >= self._compute_piece_share():
            return sample_utterances(self._training, rng, config.clips)
        count = int(rng.integers(1, config.most_words, endpoint=True))
        clips = config.clips * max(1, round(self._mean_words / count))
        return [cut_words(utterance, rng, count) for utterance in sample_utterances(self._training, rng, clips)]

    def _compute_piece_share(self) -> float:
        """Compute the share of batches that consist of pieces at the current step."""
        last = self.config.pieces_until * self.train.steps
        return self.config.pieces * max(0.0, 1 - self.step / last) if last else 0.0

    def _to_inputs(self, batch: UtteranceBatch, device: torch.device) -> tuple[Tensor | None, Tensor | None, Tensor]:
        model = self.config.model
        wav = batch.wav.to(device) if model.has_audio else None
        mouths = batch.mouths.to(device).float() / 255 if model.has_video else None
        return wav, mouths, batch.valid.to(device)

    def _sample_present(self, count: int, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor] | None:
        """Sample which clips have which stream, [count] by stream."""
        if self.config.model.streams != "both":
            return None
        dropped = rng.random(count) < self.config.missing
        choice = rng.integers(len(STREAMS), size=count)
        return {
            stream: torch.from_numpy(~(dropped & (choice == number))).to(device)
            for number, stream in enumerate(STREAMS)
        }

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Compute, for each part, word error rates of clean and corrupted clips, and the AUC of reliability scores."""
        assert isinstance(model, AVSR)
        metrics: dict[str, float] = {}
        for part, store in self._held_out.items():
            for name, corruption in (("wer", None), ("corrupted_wer", self.config.test)):
                pairs, scores = list[tuple[str, str]](), ReliabilityScores()
                for batch in self._iterate_held_out(store, corruption):
                    encoding = model.encode(*self._to_inputs(batch, device))
                    results = recognize(model, encoding, self.config.beam)
                    pairs += [(text, result.text) for text, result in zip(batch.texts, results, strict=True)]
                    scores.update(encoding.scores, [item.truth for item in batch.corruptions])
                metrics[f"{part}_{name}"] = word_error_rate(pairs).rate.value
            metrics |= {f"{part}_{stream}_auc": auc for stream, auc in scores.compute().items()}
        return metrics

    def _iterate_held_out(self, store: UtteranceStore, corruption: CorruptionConfig | None) -> Iterator[UtteranceBatch]:
        rng = np.random.default_rng([self.train.seed, len(store)])  # the same at every validation
        count = min(MAX_VALIDATION_CLIPS, len(store))
        for first in range(0, count, VALIDATION_BATCH):
            utterances = [store[i] for i in range(first, min(count, first + VALIDATION_BATCH))]
            yield build_batch(utterances, rng, corruption, self.config.model.view_px)

    def build_checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """Pack the recogniser and its language model into the checkpoint of `cals transcribe` and `cals wer`."""
        assert isinstance(model, AVSR)
        return avsr_to_checkpoint(model, self._language, parents=self._parents, step=step, metrics=metrics)

    def describe_run(self) -> dict[str, Any]:
        """Return the numbers of clips, speakers, tokens and parameters."""
        return {
            "clips": len(self._training),
            "speakers": len(set(self._training.speakers)),
            "without_text": self._training.skipped,
            "tokens": self.config.model.tokens.size,
            "held_out": {part: len(store) for part, store in self._held_out.items()},
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
        }
