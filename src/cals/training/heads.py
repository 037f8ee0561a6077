"""Shared parts of the stages that generate whole heads: batches, metrics and contact sheets."""

from abc import abstractmethod
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
from cals.data.windows import MIN_REFERENCE_DISTANCE, SYNC_FRAMES, compute_speaker_weights, sample_mel
from cals.errors import DataError
from cals.losses.reconstruction import l1
from cals.models.discriminator import DiscriminatorConfig
from cals.models.factory import to_checkpoint
from cals.models.lips import LipModel
from cals.models.sync import SyncModel
from cals.training.perceptual import PerceptualLossConfig, PerceptualLosses
from cals.training.sheet import write_training_sheet
from cals.training.stage import Losses, Stage, count_clips

VALIDATION_CLIPS, VALIDATION_PER_CLIP = 8, 2
MIDDLE = SYNC_FRAMES // 2


@dataclass(frozen=True, eq=False)
class HeadBatch:
    """Windows of 5 frames, those of one clip adjacent; the target is the middle frame of each."""

    sound: Tensor = field(repr=False)
    """The windows' own mel [n m f] in dB."""
    windows: Tensor = field(repr=False)
    """[n t 3 h w] in 0..1."""
    reference: Tensor = field(repr=False)
    """Another frame of the same clip, far enough away not to show the same mouth, [n 3 h w]."""
    landmarks: Tensor = field(repr=False)
    """Landmarks of the middle frames, [n 468 3] in crop pixels."""
    reference_landmarks: Tensor = field(repr=False)

    @property
    def target(self) -> Tensor:
        """The frames to generate, [n 3 h w]."""
        return self.windows[:, MIDDLE]


def sample_heads(
    store: ClipStore,
    rng: np.random.Generator,
    device: torch.device,
    *,
    clips: int,
    per_clip: int,
    step: int,
    crop_px: int,
    room: RoomAugment | None = None,
) -> HeadBatch:
    """Sample random windows, `step` mel frames per frame; DataError for crops of another size than `crop_px`."""
    sounds, windows, references, landmarks, reference_landmarks = [], [], [], [], []
    weights = compute_speaker_weights(store.speakers)
    for index in rng.choice(len(store), size=clips, replace=clips > len(store), p=weights):
        clip = store[int(index)]
        if clip.crops.shape[1] != crop_px:
            raise DataError(
                f"corpus: expected crops of {crop_px} px, found {clip.crops.shape[1]}; prepare it with "
                f"--crop-px {crop_px}, or use a preset for its size"
            )
        sound = sample_mel(store, int(index), rng, room)
        last = clip.frames - SYNC_FRAMES + 1
        for start in rng.choice(last, size=per_clip, replace=per_clip > last):
            positions = np.arange(clip.frames)
            allowed = positions[abs(positions - (start + MIDDLE)) >= MIN_REFERENCE_DISTANCE]
            reference = int(rng.choice(allowed if len(allowed) else positions))
            sounds.append(sound[start * step : (start + SYNC_FRAMES) * step])
            windows.append(clip.crops[start : start + SYNC_FRAMES])
            references.append(clip.crops[reference])
            landmarks.append(clip.landmarks[start + MIDDLE])
            reference_landmarks.append(clip.landmarks[reference])
    return HeadBatch(
        sound=torch.stack(sounds).to(device),
        windows=torch.from_numpy(np.stack(windows)).to(device).permute(0, 1, 4, 2, 3).float() / 255,
        reference=torch.from_numpy(np.stack(references)).to(device).permute(0, 3, 1, 2).float() / 255,
        landmarks=torch.from_numpy(np.stack(landmarks)).to(device),
        reference_landmarks=torch.from_numpy(np.stack(reference_landmarks)).to(device),
    )


def sample_validation_heads(store: ClipStore, device: torch.device, *, step: int, crop_px: int) -> HeadBatch:
    """Sample windows of held-out clips, the same every time."""
    rng, clips, per_clip = np.random.default_rng(0), VALIDATION_CLIPS, VALIDATION_PER_CLIP
    return sample_heads(store, rng, device, clips=clips, per_clip=per_clip, step=step, crop_px=crop_px)


def measure_heads(part: str, batch: HeadBatch, generated: Tensor) -> dict[str, float]:
    """Compute L1 of the whole crop and of its lower half, and of a copy of the reference as the baseline."""
    half = generated.shape[-2] // 2
    regions = {"l1": slice(None), "lower_l1": slice(half, None)}
    metrics = {}
    for name, rows in regions.items():
        target = batch.target[..., rows, :]
        metrics[f"{part}_{name}"] = float(l1(generated[..., rows, :], target))
        metrics[f"{part}_copy_{name}"] = float(l1(batch.reference[..., rows, :], target))
    return metrics


def write_head_sheet(path: Path, part: str, batch: HeadBatch, generated: Tensor) -> None:
    """Write a contact sheet of the first window of every clip, named after the part."""
    first = slice(None, None, VALIDATION_PER_CLIP)
    write_training_sheet(
        path.with_stem(f"{path.stem}-{part}"), batch.reference[first], batch.target[first], generated[first]
    )


@dataclass(frozen=True, kw_only=True)
class HeadStageConfig:
    """Config that the stages of whole heads share; each adds its model and losses."""

    discriminator: DiscriminatorConfig = field(default_factory=lambda: DiscriminatorConfig(patches=True))
    clips: int = 4
    per_clip: int = 2
    """Windows of one clip."""
    recon: float = 10.0
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)


class HeadStage(Stage):
    """A stage whose lip model generates whole heads, with a discriminator of whole crops."""

    config: HeadStageConfig
    model: LipModel

    def _set_up(
        self,
        perceptual: PerceptualLossConfig,
        discriminator: DiscriminatorConfig,
        sync: SyncModel,
        parents: dict[str, str],
        training: ClipStore,
        held_out: dict[str, ClipStore],
    ) -> None:
        """Set up data, discriminator and sync encoders; `self.model` must be set before."""
        self._parents, self._training, self._held_out = parents, training, held_out
        self._perceptual_losses = PerceptualLosses(perceptual, discriminator, sync)
        self.discriminator, self.discriminator_lr = self._perceptual_losses.discriminator, perceptual.discriminator_lr
        self.discriminator_from_step = perceptual.discriminator_from_step
        self._sizes = {"step": self.model.mel.timing.mels_per_frame, "crop_px": self.model.crop_px}

    def _sample_batch(self, rng: np.random.Generator, device: torch.device) -> tuple[HeadBatch, Tensor]:
        """Sample a batch, and its sound augmented."""
        config = self.config
        counts = {"clips": config.clips, "per_clip": config.per_clip}
        batch = sample_heads(self._training, rng, device, **counts, **self._sizes, room=config.room)
        return batch, augment_voices(batch.sound, rng, config.voice, self.model.mel.floor_db)

    @abstractmethod
    def _generate_held_out(
        self, model: nn.Module, part: str, device: torch.device
    ) -> tuple[HeadBatch, Tensor, *tuple[Tensor, ...]]:
        """Generate held-out frames; returns the batch, the images [n 3 h w] and what else the stage's metrics need."""

    def compute_discriminator_losses(self, discriminator: nn.Module) -> Losses:
        """Compute the discriminator's losses on the last images."""
        return self._perceptual_losses.compute_discriminator_losses(discriminator)

    def write_sheet(self, model: nn.Module, device: torch.device, path: Path) -> None:
        """Write a contact sheet of held-out frames."""
        for part in self._held_out:
            batch, generated, *_ = self._generate_held_out(model, part, device)
            write_head_sheet(path, part, batch, generated)

    def build_checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """Pack the whole lip model into the checkpoint that `cals generate` loads."""
        assert isinstance(model, LipModel)
        return to_checkpoint(model, parents=self._parents, step=step, metrics=metrics)

    def describe_run(self) -> dict[str, Any]:
        """Return the numbers of clips and speakers."""
        return count_clips(self._training, self._held_out)
