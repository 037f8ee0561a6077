"""Audio-to-Lip: masked prediction of the visual sync encoder's features."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cals.checkpoint import Checkpoint
from cals.data.augment import VoiceAugment, augment_voices
from cals.data.rooms import RoomAugment
from cals.data.store import ClipStore
from cals.data.windows import crop_lower_halves, sample_windows
from cals.losses.reconstruction import unit_loss
from cals.models.a2l import A2L, A2LConfig
from cals.models.factory import FRONT_PARENT, load_front_end, to_checkpoint
from cals.models.sync import SyncModel
from cals.nn.masking import sample_span_mask
from cals.training.config import TrainConfig
from cals.training.stage import Losses, Stage, count_clips


@dataclass(frozen=True, kw_only=True)
class A2LStageConfig:
    """Masking and batch (paper section 1): spans of 5, budget 0.8; loss at masked steps only as published."""

    model: A2LConfig = field(default_factory=A2LConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=5e-4))
    clips: int = 32
    frames: int = 70
    """Length of the training windows, in video frames."""
    budget: float = 0.8
    span: int = 5
    whole: float = 0.0
    """Share of windows without masking (with a weight for unmasked steps), as later stages do not mask."""
    unmasked_weight: float = 0.0
    """Weight of unmasked steps; 0 is published, more helps later stages, which use unmasked units."""
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)


class A2LStage(Stage):
    """Prediction of the visual sync encoder's features at masked steps from a corrupted mel."""

    name = "a2l"

    def __init__(
        self,
        config: A2LStageConfig,
        sync: SyncModel,
        parents: dict[str, str],
        training: ClipStore,
        held_out: dict[str, ClipStore],
        front: Checkpoint | None = None,
    ) -> None:
        self.config, self.train = config, config.train
        self.model = A2L(config.model)
        self._parents = parents
        self._training, self._held_out = training, held_out
        self._targets = _compute_targets(sync, training)
        self._held_out_targets = {part: _compute_targets(sync, store) for part, store in held_out.items()}
        if front is not None:
            load_front_end(self.model, front, parents[FRONT_PARENT], parents)
        device = next(sync.parameters()).device  # a pretrained front-end encodes all clips here
        self.model.front.to(device).fit_statistics([training.mel(i).to(device) for i in range(len(training))])

    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """Compute the squared error at masked steps (and, weighted, at others); `coverage` is the masked share."""
        config = self.config
        batch = sample_windows(
            self._training,
            rng,
            clips=config.clips,
            frames=config.frames,
            step=config.model.mel.timing.mels_per_frame,
            room=config.room,
        )
        targets = torch.stack(
            [
                self._targets[clip][start : start + config.frames]
                for clip, start in zip(batch.clips, batch.starts, strict=True)
            ]
        ).to(device)
        masks = [sample_span_mask(config.frames, rng, budget=config.budget, span=config.span) for _ in batch.clips]
        for mask in masks:
            mask &= rng.random() >= config.whole
        hidden = torch.from_numpy(np.stack(masks)).to(device)
        mel = augment_voices(batch.mel.to(device), rng, config.voice, config.model.mel.floor_db)
        units = model(mel, hidden)
        weights = hidden.float() + config.unmasked_weight * (~hidden).float()
        return {
            "total": unit_loss(units, targets, weights),
            "masked": unit_loss(units, targets, hidden.float()).detach(),
            "unmasked": unit_loss(units, targets, (~hidden).float()).detach(),
            "coverage": hidden.float().mean(),
        }

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Compute errors on whole held-out clips, masked and unmasked, and that of the training set's mean unit."""
        metrics: dict[str, float] = {}
        mean = torch.cat(self._targets).mean(dim=0)
        for part, store in self._held_out.items():
            sums = np.zeros(3)
            for i, targets in enumerate(self._held_out_targets[part]):
                mel = store.mel(i)[None].to(device)
                mask = sample_span_mask(
                    len(targets), np.random.default_rng(i), budget=self.config.budget, span=self.config.span
                )
                hidden = torch.from_numpy(mask)[None]
                masked, unmasked = model(mel, hidden.to(device)).cpu(), model(mel).cpu()
                ones = torch.ones(1, len(targets))
                sums += [
                    float(unit_loss(masked, targets[None], hidden.float())),
                    float(unit_loss(unmasked, targets[None], ones)),
                    float(unit_loss(mean.expand_as(targets)[None], targets[None], ones)),
                ]
            names = (f"{part}_masked", f"{part}_heard", f"{part}_mean_unit")
            metrics |= dict(zip(names, (sums / len(store)).tolist(), strict=True))
        return metrics

    def build_checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """Pack the network, with the sync encoders and the front-end as parents."""
        return to_checkpoint(model, parents=self._parents, step=step, metrics=metrics)

    def describe_run(self) -> dict[str, Any]:
        """Return the numbers of clips and speakers."""
        return count_clips(self._training, self._held_out)


@torch.no_grad()
def _compute_targets(sync: SyncModel, store: ClipStore) -> list[Tensor]:
    """Compute z_t of every frame of every clip, [t d] each."""
    sync.eval()
    device = next(sync.parameters()).device
    targets = []
    for clip in (store[i] for i in range(len(store))):
        lower = crop_lower_halves(clip.crops)[None].to(device).float() / 255
        targets.append(sync.visual.encode_frames(lower)[0].cpu())
    return targets
