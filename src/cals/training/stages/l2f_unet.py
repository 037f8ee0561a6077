"""Lip-to-Face as published: a U-Net draws windows of frames from their sound, a reference and pose priors."""

import json
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
from cals.errors import CheckpointError, ConfigError
from cals.files import replacing
from cals.losses.reconstruction import l1
from cals.losses.sync import d_av
from cals.models.discriminator import DiscriminatorConfig
from cals.models.factory import to_checkpoint
from cals.models.lips import WholeLips
from cals.models.speaking import UNetLips
from cals.models.sync import SyncModel
from cals.models.synctalk import RecallConfig, Stored, SyncTalkFace
from cals.models.unet import UNetConfig
from cals.models.wav2lip import Wav2Lip, WindowConfig
from cals.training.config import TrainConfig
from cals.training.judges import Judges, JudgesConfig, with_total
from cals.training.memory import MemoryLossConfig, memory_losses
from cals.training.optim import ParameterGroup, learnable
from cals.training.sheet import training_sheet
from cals.training.stage import Losses, Stage, count_clips

VALIDATION_WINDOWS = 8
Drawing = UNetLips | Wav2Lip | SyncTalkFace
"""The models of this stage: they differ in what they hear, and in what they recall by it."""
SYNC_START = "sync-start.json"
"""Where a run keeps the step at which the sync losses began."""


@dataclass(frozen=True, kw_only=True)
class UNetStageConfig:
    """L = recon + gan + d_av + d_vv (paper section 1); SyncTalkFace's weights, Adam 1e-4, batch 40 ([A]).

    Wav2Lip is this with a `window` and without d_vv; SyncTalkFace is Wav2Lip with `recall`.
    """

    decoder: UNetConfig = field(default_factory=UNetConfig)
    window: WindowConfig | None = None
    """Instead of Audio-to-Lip, which then takes no part: each frame's own 0.2 s, encoded by what is learnt here."""
    recall: RecallConfig | None = None
    """Beside a window: a memory of lips, which brings losses of its own."""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=1e-4, betas=(0.5, 0.999), weight_decay=0.0))
    critic: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    judges: JudgesConfig = field(default_factory=JudgesConfig)
    memory: MemoryLossConfig = field(default_factory=MemoryLossConfig)
    windows: int = 8
    """Windows of 5 frames a batch."""
    frames: int = 70
    """Length of the stretches that Audio-to-Lip hears around them."""
    recon: float = 10.0
    a2l_lr_share: float = 0.1
    a2l_from_step: int = 0
    """Audio-to-Lip is frozen until this step, then follows."""
    sync_below: float | None = None
    """The sync losses wait until held-out windows validate with a d_av under this (paper: 0.75, [K]; 0.69 is chance).

    With None, or where nothing is held out, they do not wait.
    """
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)

    def __post_init__(self) -> None:
        if self.recall is not None and (self.window is None or self.judges.d_vv):
            raise ConfigError(
                "l2f: expected recall with a window of sound and judges without d_vv, instead of which it has d_lips, "
                f"found {self.window} and d_vv {self.judges.d_vv}"
            )


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
    """The U-Net learns, and with it a window encoder and a memory, or more slowly Audio-to-Lip.

    `run`, the run directory, keeps when the sync losses began: a run that goes on must know.
    """

    name = "l2f-unet"
    model: Drawing

    def __init__(
        self,
        config: UNetStageConfig,
        model: Drawing,
        parents: dict[str, str],
        sync: SyncModel,
        training: ClipStore,
        held_out: dict[str, ClipStore],
        run: Path,
    ) -> None:
        self.config, self.train, self.model = config, config.train, model
        if isinstance(model, UNetLips):
            # Nothing is hidden here, and DDP wants a gradient for the rest.
            model.a2l.front.hidden_step.requires_grad_(False)
        self._parents, self._training, self._sync = parents, training, sync
        self._held_out = {
            part: store
            for part, store in held_out.items()
            if max(store.frames(i) for i in range(len(store))) >= config.frames
        }
        self._judges = Judges(config.judges, config.critic, sync)
        self.critic, self.critic_lr = self._judges.critic, config.judges.critic_lr
        self.critic_from_step = config.judges.critic_from_step
        self._start = run / SYNC_START
        self._sync_from = _read_start(self._start)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Audio-to-Lip is trained already: frozen first, then slowly. All other parts are as new as the U-Net."""
        if not isinstance(self.model, UNetLips):
            return [ParameterGroup(parameters=learnable(self.model))]
        share, start = self.config.a2l_lr_share, self.config.a2l_from_step
        return [
            ParameterGroup(parameters=learnable(self.model.a2l), lr_share=share, from_step=start),
            ParameterGroup(parameters=learnable(self.model.decoder)),
        ]

    def losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """By name, each with its weight; `total` is their sum."""
        batch = self._windows(self._training, rng, self.config.windows, device)
        generations, losses = self._generate(
            model, voices(batch.mel, rng, self.config.voice, self.model.mel.floor_db), batch
        )
        count = len(generations)
        drawn, real, sound = (torch.cat(part) for part in (generations, [batch.real] * count, [batch.sound] * count))
        judged = {"recon": self.config.recon * l1(drawn, real)}
        judged |= self._judges.of_pictures(drawn.flatten(0, 1), real.flatten(0, 1), self.step)
        if self._sync_has_begun():
            judged |= self._judges.of_windows(drawn, real, sound, self.step)
        # The judges give means; every generation has losses of its own.
        return with_total({name: count * value for name, value in judged.items()} | losses)

    def _generate(self, model: nn.Module, mel: Tensor, batch: _Windows) -> tuple[list[Tensor], Losses]:
        """Crops of one generation; or of two, and what the memory that tells them apart has to lose."""
        given = mel, batch.frames, batch.reference, batch.real
        if not isinstance(self.model, SyncTalkFace) or self.model.lips is None:
            return [model(*given)], {}
        stored: Stored = model(*given, store=True)
        losses = memory_losses(self.config.memory, self.model.lips, stored, batch.real)
        return [stored.by_lips, stored.by_audio], losses

    def _sync_has_begun(self) -> bool:
        if self.config.sync_below is None or not self._held_out:
            return True
        # Only the first of several processes validates; the others read what it found.
        if self._sync_from is None and self.step % self.train.validate_every == 0:
            self._sync_from = _read_start(self._start)
        return self._sync_from is not None and self.step >= self._sync_from

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

    def _drawn(self, model: nn.Module, part: str, device: torch.device) -> tuple[_Windows, Tensor]:
        batch = self._windows(self._held_out[part], np.random.default_rng(0), VALIDATION_WINDOWS, device)
        return batch, model(batch.mel, batch.frames, batch.reference, batch.real)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Of held-out windows: L1 of the lower half, and that of the reference copied as the bar to beat; d_av."""
        metrics: dict[str, float] = {}
        sync = self._sync.to(device)
        for part in self._held_out:
            batch, drawn = self._drawn(model, part, device)
            half = drawn.shape[-2] // 2
            metrics[f"{part}_l1"] = float(l1(drawn[..., half:, :], batch.real[..., half:, :]))
            metrics[f"{part}_copy_l1"] = float(l1(batch.reference[..., half:, :], batch.real[..., half:, :]))
            metrics[f"{part}_d_av"] = float(d_av(*sync(drawn[..., half:, :], batch.sound)))
        self._listen([value for name, value in metrics.items() if name.endswith("_d_av")])
        return metrics

    def _listen(self, found: list[float]) -> None:
        """Let the sync losses begin where it is time, and write that down."""
        below = self.config.sync_below
        if self._sync_from is None and found and below is not None and np.mean(found) < below:
            self._sync_from = self.step
            with replacing(self._start) as partial:
                partial.write_text(json.dumps({"step": self.step, "d_av": float(np.mean(found))}), encoding="utf-8")

    def picture(self, model: nn.Module, device: torch.device, path: Path) -> None:
        """A sheet of held-out windows' middle frames."""
        for part in self._held_out:
            batch, drawn = self._drawn(model, part, device)
            middle = SYNC_FRAMES // 2
            sheet = (batch.reference[:, middle], batch.real[:, middle], drawn[:, middle])
            training_sheet(path.with_stem(f"{path.stem}-{part}"), *sheet)

    def checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """A whole lip model, as `cals generate` takes it."""
        assert isinstance(model, WholeLips)
        return to_checkpoint(model, parents=self._parents, step=step, metrics=metrics)

    def facts(self) -> dict[str, Any]:
        """The run's setting in numbers."""
        return count_clips(self._training, self._held_out)


def _read_start(path: Path) -> int | None:
    """When the sync losses of a run began; None before that."""
    if not path.is_file():
        return None
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: expected the step of a start, found {error}; name another run directory"
        ) from error
