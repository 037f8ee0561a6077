"""Lip-to-Face as published: a U-Net draws windows of frames from their sound, a reference and pose priors."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cals.checkpoint import Checkpoint
from cals.data.augment import VoiceAugment, voices
from cals.data.rooms import RoomAugment
from cals.data.store import ClipStore
from cals.data.windows import OWN_FRAMES, SYNC_FRAMES, stretches
from cals.losses.reconstruction import l1
from cals.models.discriminator import DiscriminatorConfig
from cals.models.factory import to_checkpoint
from cals.models.speaking import UNetLips
from cals.models.sync import SyncModel
from cals.models.unet import UNetConfig
from cals.training.config import TrainConfig
from cals.training.judges import Judges, JudgesConfig, with_total
from cals.training.optim import ParameterGroup, learnable
from cals.training.sheet import training_sheet
from cals.training.stage import Losses, Stage

VALIDATION_WINDOWS = 8


@dataclass(frozen=True, kw_only=True)
class UNetStageConfig:
    """L = recon + gan + d_av + d_vv (paper section 1); SyncTalkFace's weights, Adam 1e-4, batch 40 ([A])."""

    decoder: UNetConfig = field(default_factory=UNetConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=1e-4, betas=(0.5, 0.999), weight_decay=0.0))
    critic: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    judges: JudgesConfig = field(default_factory=JudgesConfig)
    windows: int = 8
    """Windows of 5 frames a batch."""
    frames: int = 70
    """Length of the stretches that Audio-to-Lip hears around them."""
    recon: float = 10.0
    a2l_lr_share: float = 0.1
    a2l_from_step: int = 0
    """Audio-to-Lip is frozen until this step, then follows."""
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)


@dataclass(frozen=True, eq=False)
class _Windows:
    """What a window's frames are drawn from: [n t ...], n stretches, t frames of the window."""

    mel: Tensor
    frames: Tensor
    """Which units of its stretch they say, [n t]."""
    reference: Tensor
    real: Tensor
    sound: Tensor
    """The windows' own mel."""


class UNetStage(Stage):
    """Audio-to-Lip follows slowly while the U-Net learns."""

    name = "l2f-unet"
    model: UNetLips

    def __init__(
        self,
        config: UNetStageConfig,
        model: UNetLips,
        parents: dict[str, str],
        sync: SyncModel,
        training: ClipStore,
        held_out: dict[str, ClipStore],
    ) -> None:
        self.config, self.train, self.model = config, config.train, model
        model.a2l.hidden_step.requires_grad_(False)  # nothing is hidden here, and DDP wants a gradient for the rest
        self._parents, self._training = parents, training
        self._held_out = {
            part: store
            for part, store in held_out.items()
            if max(store.frames(i) for i in range(len(store))) >= config.frames
        }
        self._judges = Judges(config.judges, config.critic, sync)
        self.critic, self.critic_lr = self._judges.critic, config.judges.critic_lr
        self.critic_from_step = config.judges.critic_from_step

    def parameter_groups(self) -> list[ParameterGroup]:
        """Audio-to-Lip is trained already: frozen first, then slowly."""
        share, start = self.config.a2l_lr_share, self.config.a2l_from_step
        return [
            ParameterGroup(parameters=learnable(self.model.a2l), lr_share=share, from_step=start),
            ParameterGroup(parameters=learnable(self.model.decoder)),
        ]

    def losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """By name, each with its weight; `total` is their sum."""
        batch = self._windows(self._training, rng, self.config.windows, device)
        mel = voices(batch.mel, rng, self.config.voice, self.model.mel.floor_db)
        drawn = model(mel, batch.frames, batch.reference, batch.real)
        losses = {"recon": self.config.recon * l1(drawn, batch.real)}
        losses |= self._judges.of_pictures(drawn.flatten(0, 1), batch.real.flatten(0, 1), self.step)
        losses |= self._judges.of_windows(drawn, batch.real, batch.sound, self.step)
        return with_total(losses)

    def critic_losses(self, critic: nn.Module) -> Losses:
        """As the judges have it."""
        return self._judges.critic_losses(critic)

    def _windows(self, store: ClipStore, rng: np.random.Generator, count: int, device: torch.device) -> _Windows:
        step = self.model.mel.timing.mels_per_frame
        batch = stretches(store, rng, clips=count, frames=self.config.frames, step=step, room=self.config.room)
        frames, reference, real, sound = [], [], [], []
        for clip, start, mel in zip(batch.clips, batch.starts, batch.mel, strict=True):
            first = int(rng.integers(self.config.frames - SYNC_FRAMES + 1))
            crops = store[clip].crops
            places = np.arange(len(crops))
            inside = (places > start + first - OWN_FRAMES) & (places < start + first + SYNC_FRAMES - 1 + OWN_FRAMES)
            reference.append(crops[int(rng.choice(places[~inside]))])
            real.append(crops[start + first : start + first + SYNC_FRAMES])
            frames.append(np.arange(first, first + SYNC_FRAMES))
            sound.append(mel[first * step : (first + SYNC_FRAMES) * step])
        pictures = torch.from_numpy(np.stack(real)).to(device).permute(0, 1, 4, 2, 3).float() / 255
        references = torch.from_numpy(np.stack(reference)).to(device).permute(0, 3, 1, 2).float() / 255
        return _Windows(
            mel=batch.mel.to(device),
            frames=torch.from_numpy(np.stack(frames)).to(device),
            reference=references[:, None].expand_as(pictures),
            real=pictures,
            sound=torch.stack(sound).to(device),
        )

    def _drawn(self, model: UNetLips, part: str, device: torch.device) -> tuple[_Windows, Tensor]:
        batch = self._windows(self._held_out[part], np.random.default_rng(0), VALIDATION_WINDOWS, device)
        return batch, model(batch.mel, batch.frames, batch.reference, batch.real)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Of held-out windows: L1 of the lower half, and that of the reference copied as the bar to beat."""
        assert isinstance(model, UNetLips)
        metrics: dict[str, float] = {}
        for part in self._held_out:
            batch, drawn = self._drawn(model, part, device)
            half = drawn.shape[-2] // 2
            metrics[f"{part}_l1"] = float(l1(drawn[..., half:, :], batch.real[..., half:, :]))
            metrics[f"{part}_copy_l1"] = float(l1(batch.reference[..., half:, :], batch.real[..., half:, :]))
        return metrics

    def picture(self, model: nn.Module, device: torch.device, path: Path) -> None:
        """A sheet of held-out windows' middle frames."""
        assert isinstance(model, UNetLips)
        for part in self._held_out:
            batch, drawn = self._drawn(model, part, device)
            middle = SYNC_FRAMES // 2
            sheet = (batch.reference[:, middle], batch.real[:, middle], drawn[:, middle])
            training_sheet(path.with_stem(f"{path.stem}-{part}"), *sheet)

    def checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """A whole lip model, as `cals generate` takes it."""
        assert isinstance(model, UNetLips)
        return to_checkpoint(model, parents=self._parents, step=step, metrics=metrics)

    def facts(self) -> dict[str, Any]:
        """The run's setting in numbers."""
        held_out = {part: len(store) for part, store in self._held_out.items()}
        return {"clips": len(self._training), "speakers": len(set(self._training.speakers)), "held_out": held_out}
