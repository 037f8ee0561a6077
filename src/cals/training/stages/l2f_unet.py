"""Lip-to-Face as published: a U-Net generates windows of frames from audio, a reference and pose priors."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cals.checkpoint import Checkpoint
from cals.data.augment import VoiceAugment, augment_voices
from cals.data.rooms import RoomAugment
from cals.data.store import ClipStore
from cals.data.windows import MIN_REFERENCE_DISTANCE, SYNC_FRAMES, sample_windows
from cals.errors import CheckpointError, ConfigError
from cals.files import replace_atomically
from cals.losses.reconstruction import l1
from cals.losses.sync import d_av
from cals.models.cals import UNetLips
from cals.models.discriminator import DiscriminatorConfig
from cals.models.factory import to_checkpoint
from cals.models.lips import LipGenerator
from cals.models.sync import SyncModel
from cals.models.synctalk import MemoryOutput, RecallConfig, SyncTalkFace
from cals.models.unet import UNetConfig
from cals.models.wav2lip import Wav2Lip, WindowConfig
from cals.training.config import TrainConfig
from cals.training.memory import MemoryLossConfig, compute_memory_losses
from cals.training.optim import ParameterGroup, list_trainable
from cals.training.perceptual import PerceptualLossConfig, PerceptualLosses, add_total
from cals.training.sheet import write_training_sheet
from cals.training.stage import Losses, Stage, count_clips

VALIDATION_WINDOWS = 8
UNetModel = UNetLips | Wav2Lip | SyncTalkFace
"""The models of this stage; they differ in their audio encoder and memory."""
SYNC_START_FILE = "sync-start.json"
"""File in the run directory with the step at which the sync losses began."""


@dataclass(frozen=True, kw_only=True)
class UNetStageConfig:
    """L = recon + gan + d_av + d_vv (paper section 1); SyncTalkFace's weights, Adam 1e-4, batch 40 ([A]).

    Wav2Lip is this with a `window` and without d_vv; SyncTalkFace is Wav2Lip with `recall`.
    """

    decoder: UNetConfig = field(default_factory=UNetConfig)
    window: WindowConfig | None = None
    """Window encoder, trained here, of each frame's own 0.2 s; it replaces Audio-to-Lip."""
    recall: RecallConfig | None = None
    """Audio-Lip Memory, with losses of its own; needs a window."""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=1e-4, betas=(0.5, 0.999), weight_decay=0.0))
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    perceptual: PerceptualLossConfig = field(default_factory=PerceptualLossConfig)
    memory: MemoryLossConfig = field(default_factory=MemoryLossConfig)
    windows: int = 8
    """Windows of 5 frames a batch."""
    frames: int = 70
    """Length of the audio around them that Audio-to-Lip encodes, in frames."""
    recon: float = 10.0
    a2l_lr_share: float = 0.1
    a2l_from_step: int = 0
    """Audio-to-Lip is frozen until this step."""
    sync_below: float | None = None
    """The sync losses begin when d_av of held-out windows is below this (paper: 0.75, [K]; 0.69 is chance).

    With None, or without held-out clips, they begin at once.
    """
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)

    def __post_init__(self) -> None:
        if self.recall is not None and (self.window is None or self.perceptual.d_vv):
            raise ConfigError(
                "l2f: expected recall with a window of sound and perceptual losses without d_vv, instead of "
                f"which it has d_lips, found {self.window} and d_vv {self.perceptual.d_vv}"
            )


@dataclass(frozen=True, eq=False)
class _Windows:
    """A batch of windows: [n t ...], n windows of t frames."""

    mel: Tensor
    frames: Tensor
    """Indices [n t] of the frames' units in their audio."""
    reference: Tensor
    real: Tensor
    sound: Tensor
    """Mel of the windows alone."""


class UNetStage(Stage):
    """Training of the U-Net with a window encoder and a memory, or with Audio-to-Lip at a lower learning rate.

    `run`, the run directory, stores when the sync losses began, for a resumed run.
    """

    name = "l2f-unet"
    model: UNetModel

    def __init__(
        self,
        config: UNetStageConfig,
        model: UNetModel,
        parents: dict[str, str],
        sync: SyncModel,
        training: ClipStore,
        held_out: dict[str, ClipStore],
        run: Path,
    ) -> None:
        self.config, self.train, self.model = config, config.train, model
        if isinstance(model, UNetLips):
            # There is no masking here, and DDP expects a gradient for every trainable parameter.
            model.a2l.front.hidden_step.requires_grad_(False)
        self._parents, self._training, self._sync = parents, training, sync
        self._held_out = {
            part: store
            for part, store in held_out.items()
            if max(store.frames(i) for i in range(len(store))) >= config.frames
        }
        self._perceptual_losses = PerceptualLosses(config.perceptual, config.discriminator, sync)
        self.discriminator = self._perceptual_losses.discriminator
        self.discriminator_lr = config.perceptual.discriminator_lr
        self.discriminator_from_step = config.perceptual.discriminator_from_step
        self._start_path = run / SYNC_START_FILE
        self._sync_start_step = _read_start(self._start_path)

    def build_parameter_groups(self) -> list[ParameterGroup]:
        """Return the groups: Audio-to-Lip, pretrained, is frozen first and then slow; all other parts are new."""
        if not isinstance(self.model, UNetLips):
            return [ParameterGroup(parameters=list_trainable(self.model))]
        share, start = self.config.a2l_lr_share, self.config.a2l_from_step
        return [
            ParameterGroup(parameters=list_trainable(self.model.a2l), lr_share=share, from_step=start),
            ParameterGroup(parameters=list_trainable(self.model.decoder)),
        ]

    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """Compute the weighted losses by name; `total` is their sum."""
        batch = self._sample_windows(self._training, rng, self.config.windows, device)
        generations, losses = self._generate(
            model, augment_voices(batch.mel, rng, self.config.voice, self.model.mel.floor_db), batch
        )
        count = len(generations)
        generated, real, sound = (
            torch.cat(part) for part in (generations, [batch.real] * count, [batch.sound] * count)
        )
        image_losses = {"recon": self.config.recon * l1(generated, real)}
        image_losses |= self._perceptual_losses.compute_image_losses(
            generated.flatten(0, 1), real.flatten(0, 1), self.step
        )
        if self._has_sync_begun():
            image_losses |= self._perceptual_losses.compute_sync_losses(generated, real, sound, self.step)
        # These losses are means over all generations; each generation counts in full.
        return add_total({name: count * value for name, value in image_losses.items()} | losses)

    def _generate(self, model: nn.Module, mel: Tensor, batch: _Windows) -> tuple[list[Tensor], Losses]:
        """Generate crops once, or twice with a memory; returns the generations and the memory's losses."""
        inputs = mel, batch.frames, batch.reference, batch.real
        if not isinstance(self.model, SyncTalkFace) or self.model.lips is None:
            return [model(*inputs)], {}
        stored: MemoryOutput = model(*inputs, store=True)
        losses = compute_memory_losses(self.config.memory, self.model.lips, stored, batch.real)
        return [stored.by_lips, stored.by_audio], losses

    def _has_sync_begun(self) -> bool:
        if self.config.sync_below is None or not self._held_out:
            return True
        # Only the first of several processes validates; the others read its result.
        if self._sync_start_step is None and self.step % self.train.validate_every == 0:
            self._sync_start_step = _read_start(self._start_path)
        return self._sync_start_step is not None and self.step >= self._sync_start_step

    def compute_discriminator_losses(self, discriminator: nn.Module) -> Losses:
        """Compute the discriminator's losses on the last images."""
        return self._perceptual_losses.compute_discriminator_losses(discriminator)

    def _sample_windows(self, store: ClipStore, rng: np.random.Generator, count: int, device: torch.device) -> _Windows:
        step = self.model.mel.timing.mels_per_frame
        batch = sample_windows(store, rng, clips=count, frames=self.config.frames, step=step, room=self.config.room)
        frames, reference, real, sound = [], [], [], []
        for clip, start, mel in zip(batch.clips, batch.starts, batch.mel, strict=True):
            first = int(rng.integers(self.config.frames - SYNC_FRAMES + 1))
            crops = store[clip].crops
            positions = np.arange(len(crops))
            near = (positions > start + first - MIN_REFERENCE_DISTANCE) & (
                positions < start + first + SYNC_FRAMES - 1 + MIN_REFERENCE_DISTANCE
            )
            reference.append(crops[int(rng.choice(positions[~near]))])
            real.append(crops[start + first : start + first + SYNC_FRAMES])
            frames.append(np.arange(first, first + SYNC_FRAMES))
            sound.append(mel[first * step : (first + SYNC_FRAMES) * step])
        images = torch.from_numpy(np.stack(real)).to(device).permute(0, 1, 4, 2, 3).float() / 255
        references = torch.from_numpy(np.stack(reference)).to(device).permute(0, 3, 1, 2).float() / 255
        return _Windows(
            mel=batch.mel.to(device),
            frames=torch.from_numpy(np.stack(frames)).to(device),
            reference=references[:, None].expand_as(images),
            real=images,
            sound=torch.stack(sound).to(device),
        )

    def _generate_held_out(self, model: nn.Module, part: str, device: torch.device) -> tuple[_Windows, Tensor]:
        batch = self._sample_windows(self._held_out[part], np.random.default_rng(0), VALIDATION_WINDOWS, device)
        return batch, model(batch.mel, batch.frames, batch.reference, batch.real)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Compute L1 of held-out lower halves, that of a copied reference as the baseline, and d_av."""
        metrics: dict[str, float] = {}
        sync = self._sync.to(device)
        for part in self._held_out:
            batch, generated = self._generate_held_out(model, part, device)
            half = generated.shape[-2] // 2
            metrics[f"{part}_l1"] = float(l1(generated[..., half:, :], batch.real[..., half:, :]))
            metrics[f"{part}_copy_l1"] = float(l1(batch.reference[..., half:, :], batch.real[..., half:, :]))
            metrics[f"{part}_d_av"] = float(d_av(*sync(generated[..., half:, :], batch.sound)))
        self._update_sync_start([value for name, value in metrics.items() if name.endswith("_d_av")])
        return metrics

    def _update_sync_start(self, values: list[float]) -> None:
        """Start the sync losses once mean d_av is low enough, and store the step."""
        below = self.config.sync_below
        if self._sync_start_step is None and values and below is not None and np.mean(values) < below:
            self._sync_start_step = self.step
            with replace_atomically(self._start_path) as partial:
                partial.write_text(json.dumps({"step": self.step, "d_av": float(np.mean(values))}), encoding="utf-8")

    def write_sheet(self, model: nn.Module, device: torch.device, path: Path) -> None:
        """Write a contact sheet of the middle frames of held-out windows."""
        for part in self._held_out:
            batch, generated = self._generate_held_out(model, part, device)
            middle = SYNC_FRAMES // 2
            sheet = (batch.reference[:, middle], batch.real[:, middle], generated[:, middle])
            write_training_sheet(path.with_stem(f"{path.stem}-{part}"), *sheet)

    def build_checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """Pack the whole lip model into the checkpoint that `cals generate` loads."""
        assert isinstance(model, LipGenerator)
        return to_checkpoint(model, parents=self._parents, step=step, metrics=metrics)

    def describe_run(self) -> dict[str, Any]:
        """Return the numbers of clips and speakers."""
        return count_clips(self._training, self._held_out)


def _read_start(path: Path) -> int | None:
    """Read the step at which the sync losses of a run began; None before that."""
    if not path.is_file():
        return None
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: expected the step of a start, found {error}; name another run directory"
        ) from error
