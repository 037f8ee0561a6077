"""The sync encoders: contrastive training on matching windows of audio and video."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from cals.checkpoint import Checkpoint
from cals.data.augment import FaceAugment, VoiceAugment, augment_faces, augment_voices
from cals.data.rooms import RoomAugment
from cals.data.store import ClipStore
from cals.data.windows import crop_lower_halves, sample_sync_windows
from cals.losses.contrastive import info_nce, retrieval_accuracy
from cals.metrics.offset import MAX_OFFSET, MIN_FRAMES, compute_in_step
from cals.models.factory import to_checkpoint
from cals.models.sync import SyncConfig, SyncModel
from cals.training.config import TrainConfig
from cals.training.optim import ParameterGroup
from cals.training.stage import Losses, Stage


@dataclass(frozen=True, kw_only=True)
class SyncStageConfig:
    """Batch and augmentation; batch 256, tau 0.07 (paper section 1, [D])."""

    model: SyncConfig = field(default_factory=SyncConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    clips: int = 32
    per_clip: int = 8
    temperature: float = 0.07
    head_lr_share: float = 0.1
    """Learning rate of the linear heads as a share of the other layers'.

    A head sums thousands of inputs that are mostly positive. One step of Adam at the full rate shifts all its outputs
    together by more than their differences. The embeddings collapse, the loss is that of chance and recovers slowly.
    """
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)
    face: FaceAugment = field(default_factory=FaceAugment)


class SyncStage(Stage):
    """Training with InfoNCE over `clips` x `per_clip` windows, with negatives from the same clip and from others."""

    name = "sync"

    def __init__(self, config: SyncStageConfig, training: ClipStore, held_out: dict[str, ClipStore]) -> None:
        self.config, self.train = config, config.train
        self._training, self._held_out = training, held_out
        self.model = self._build_model()

    @property
    def chance_loss(self) -> float:
        """InfoNCE of identical embeddings, at any temperature."""
        return math.log(self.config.clips * self.config.per_clip)

    def reset_weights(self) -> None:
        """Initialise the network anew with the current seed."""
        self.model.load_state_dict(self._build_model().state_dict())

    def _build_model(self) -> SyncModel:
        torch.manual_seed(self.seed)
        return SyncModel(self.config.model)

    def build_parameter_groups(self) -> Sequence[ParameterGroup]:
        """Return each encoder's layers, and its head at a share of their learning rate, in the network's order."""
        groups = []
        for encoder in self.model.children():
            layers, head = encoder.get_submodule("layers"), encoder.get_submodule("head")
            groups += [
                ParameterGroup(parameters=list(layers.parameters())),
                ParameterGroup(parameters=list(head.parameters()), lr_share=self.config.head_lr_share),
            ]
        return groups

    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """Compute InfoNCE of one batch; `accuracy` is the share of windows that retrieve their own audio."""
        config = self.config
        batch = sample_sync_windows(
            self._training,
            rng,
            clips=config.clips,
            per_clip=config.per_clip,
            frames=config.model.frames,
            step=config.model.mel.timing.mels_per_frame,
            room=config.room,
        )
        # All windows of a clip have the same augmentation, so that only timing distinguishes them.
        lower = augment_faces(batch.lower.flatten(1, 2), rng, config.face).to(device)
        mel = augment_voices(batch.mel.to(device).flatten(1, 2), rng, config.voice, config.model.mel.floor_db)
        windows = lower.unflatten(1, (config.per_clip, config.model.frames)).flatten(0, 1)  # type: ignore[no-untyped-call]
        sound = mel.unflatten(1, (config.per_clip, config.model.mel_frames)).flatten(0, 1)  # type: ignore[no-untyped-call]
        visual, audio = model(windows, sound)
        return {
            "total": info_nce(visual, audio, config.temperature),
            "accuracy": retrieval_accuracy(visual.detach(), audio.detach()),
        }

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Compute, for each held-out part, the shares of clips and windows whose offset is found within a frame."""
        assert isinstance(model, SyncModel)
        metrics: dict[str, float] = {}
        for part, store in self._held_out.items():
            long = [store[i] for i in range(len(store)) if store.frames(i) >= MIN_FRAMES]
            results = [compute_in_step(*model.embed_clip(crop_lower_halves(clip.crops), clip.mel)) for clip in long]
            if results:
                whole, windows = np.mean(results, axis=0).tolist()
                metrics |= {f"{part}_clips_found": whole, f"{part}_windows_found": windows}
        return metrics

    def build_checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """Pack the encoders into the checkpoint that later stages load."""
        return to_checkpoint(model, step=step, metrics=metrics)

    def build_advice(self, step: int, metrics: dict[str, float]) -> str | None:
        """Return likely reasons for a loss at chance after warm-up: the question that users ask most."""
        share = metrics.get("seen_windows_found", metrics.get("unseen_windows_found", 1.0))
        chance = 3 / (2 * MAX_OFFSET + 1)
        if step < self.train.steps * self.train.warmup or share > 2 * chance:
            return None
        windows = self.config.clips * self.config.per_clip
        return (
            f"step {step}: windows find their sound no better than chance ({share:.0%}; chance {chance:.0%}). The loss "
            f"of chance is log {windows} = {self.chance_loss:.2f}, or 0.69 for pairs. {self.explain_chance()}"
        )

    def explain_chance(self) -> str:
        """Return the usual reasons, with this run's numbers."""
        speakers = len(set(self._training.speakers))
        return (
            "Usual reasons: sound and picture are not in sync (see the offsets in the corpus's summary.json), too few "
            f"speakers ({speakers}) or clips ({len(self._training)}), or too high a rate ({self.train.lr:g}; try a "
            "third of it)."
        )

    def describe_run(self) -> dict[str, Any]:
        """Return the numbers of clips and speakers, and the loss of chance."""
        speakers = len(set(self._training.speakers))
        held_out = {part: len(store) for part, store in self._held_out.items()}
        return {
            "clips": len(self._training),
            "speakers": speakers,
            "held_out": held_out,
            "chance_loss": self.chance_loss,
        }
