"""Lip-to-Face by mesh: Audio-to-Lip and the motion head together, against the meshes of real faces."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cals.checkpoint import Checkpoint
from cals.data.augment import VoiceAugment, voices
from cals.data.noises import NoiseAugment, NoiseBank, add_noise
from cals.data.rooms import RoomAugment
from cals.data.store import ClipStore
from cals.data.windows import add_pauses, resample, stretches
from cals.errors import ConfigError
from cals.losses.motion import concordance
from cals.metrics.motion import correlation, span
from cals.models.factory import to_checkpoint
from cals.models.mesh import lip_gap
from cals.models.motion import MeshConfig, lip_readout
from cals.models.speaking import MeshLips
from cals.nn.masking import span_mask
from cals.training.config import TrainConfig
from cals.training.geometry import Geometry
from cals.training.optim import ParameterGroup, learnable
from cals.training.stage import Losses, Stage, count_clips


@dataclass(frozen=True, kw_only=True)
class MeshStageConfig:
    """Batch and weights of the mesh decoder's stage; all of it is ours."""

    decoder: MeshConfig = field(default_factory=MeshConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=5e-4))
    clips: int = 16
    frames: int = 70
    """Windows of sound, and their length."""
    speakers: float = 0.25
    """Between clips drawn evenly (1) and speakers drawn evenly (0)."""
    a2l_lr_share: float = 1.0
    masked: float = 0.25
    """Share of the windows of which a part is hidden, so that what is missing in the sound is still filled in."""
    budget: float = 0.4
    """How much of these is hidden at most, in spans as long as Audio-to-Lip's own stage hides."""
    cut: float = 0.0
    """Share of the steps whose windows are of 1 to `frames` frames, more of them: so that sound cut short is nothing
    new, as the context study cuts it. Such steps do without `follow`."""
    rate: float = 0.25
    """How much faster or slower a window is spoken, as a share: no corpus knows all rates of speech."""
    pauses: float = 0.25
    """Share of the windows in which the speech pauses and the mouth rests, which read sentences never do."""
    motion: float = 1.0
    follow: float = 0.5
    """Weight of the concordance of mouth opening and width."""
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)
    noise: NoiseAugment = field(default_factory=NoiseAugment)

    def __post_init__(self) -> None:
        if not (0 <= self.masked <= 1 and 0 <= self.cut <= 1 and 0 < self.budget <= 1 and 0 <= self.rate < 1):
            raise ConfigError(f"l2f: expected masked, cut and rate from 0 to 1 and a budget above 0, found {self}")


class MeshStage(Stage):
    """Sound against the motion of the real mesh; pictures are moved by it and need no training."""

    name = "l2f-mesh"
    model: MeshLips

    def __init__(
        self,
        config: MeshStageConfig,
        model: MeshLips,
        parents: dict[str, str],
        training: ClipStore,
        held_out: dict[str, ClipStore],
        geometry: list[Geometry],
        held_out_geometry: dict[str, list[Geometry]],
    ) -> None:
        self.config, self.train, self.model = config, config.train, model
        self._parents = parents
        self._training, self._held_out = training, held_out
        self._geometry, self._held_out_geometry = geometry, held_out_geometry
        self._readout = lip_readout(model.decoder.mesh)
        self._noises = NoiseBank(model.mel)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Audio-to-Lip is trained already and may follow more slowly."""
        return [
            ParameterGroup(parameters=learnable(self.model.a2l), lr_share=self.config.a2l_lr_share),
            ParameterGroup(parameters=learnable(self.model.decoder)),
        ]

    def losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """By name, each with its weight; `total` is their sum."""
        config = self.config
        cut = config.cut > 0 and rng.random() < config.cut
        frames = round(config.frames ** rng.random()) if cut else config.frames
        mel, target, spoken = self._windows(rng, frames)
        hidden = torch.from_numpy(np.stack([self._hidden(rng, frames) for _ in mel])).to(device)
        motion = model(mel.to(device), hidden)
        return self._motion_losses(motion, target.to(device), spoken.to(device), follow=0.0 if cut else config.follow)

    def _windows(self, rng: np.random.Generator, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log-mels [b m f], target motion [b t k] and whether anyone speaks [b]."""
        config, step = self.config, self.model.mel.timing.mels_per_frame
        rate = float(np.exp(rng.uniform(-1, 1) * np.log1p(config.rate)))
        longest = max(self._training.frames(i) for i in range(len(self._training)))
        taken = max(1, min(round(frames * rate), max(longest, frames)))
        batch = stretches(
            self._training,
            rng,
            clips=config.clips * min(config.frames // frames, 8),
            frames=taken,
            step=step,
            room=config.room,
            power=config.speakers,
        )
        target = torch.stack(
            [
                self._geometry[clip].target[start : start + taken]
                for clip, start in zip(batch.clips, batch.starts, strict=True)
            ]
        )
        mel, target = resample(batch.mel, frames * step), resample(target, frames)
        mel, target = add_pauses(mel, target, rng, share=config.pauses, floor_db=self.model.mel.floor_db)
        mel, alone = add_noise(mel, rng, config.noise, self._noises)
        mel = voices(mel, rng, config.voice, self.model.mel.floor_db)
        spoken = torch.from_numpy(~alone)
        return mel, target * spoken[:, None, None], spoken

    def _hidden(self, rng: np.random.Generator, frames: int) -> NDArray[np.bool_]:
        """The steps of a window that are not heard, [t]."""
        if frames < self.config.frames or rng.random() >= self.config.masked:
            return np.zeros(frames, dtype=bool)
        return span_mask(frames, rng, budget=self.config.budget)

    def _motion_losses(self, motion: Tensor, target: Tensor, spoken: Tensor, follow: float) -> Losses:
        energy = self.model.decoder.mesh.basis.square().sum(dim=(1, 2))
        shares = 0.9 * energy / energy.sum() + 0.1 / len(energy)  # a little for what is small but seen, like pouting
        readout = self._readout.to(motion.device)
        heard, real = (motion[spoken] @ readout).transpose(1, 2), (target[spoken] @ readout).transpose(1, 2)
        losses = {"motion": self.config.motion * ((motion - target).square() * shares).sum(dim=-1).mean()}
        if len(heard):
            losses["follow"] = follow * concordance(heard, real)
        return losses | {"total": torch.stack(list(losses.values())).sum()}

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Of whole held-out clips: correlation of opening and width, span of opening; how wide noise alone opens lips.

        A clip whose mouth stands still has no span; where all do there is none.
        """
        assert isinstance(model, MeshLips)
        metrics: dict[str, float] = {}
        readout = self._readout.to(device)
        for part, store in self._held_out.items():
            rows = []
            for i, geometry in enumerate(self._held_out_geometry[part]):
                pred = _curves(model.motion(model.units(store.mel(i)[None].to(device)))[0] @ readout)
                real = _curves(geometry.target.to(device) @ readout)
                rows.append([*(correlation(pred[:, j], real[:, j]) for j in (0, 1)), span(pred[:, 0], real[:, 0])])
            for name, values in zip(("opening", "width", "span"), np.transpose(rows), strict=True):
                known = values[np.isfinite(values)]
                metrics |= {f"{part}_{name}": float(known.mean())} if len(known) else {}
        noise = model.motion(model.units(self._noises.mels[::8].to(device) - 20)) @ lip_gap(model.decoder.mesh.basis)
        return metrics | {"noise_opening": float(noise.mean() / model.decoder.opening_px)}

    def checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """A whole lip model, as `cals generate` takes it."""
        assert isinstance(model, MeshLips)
        return to_checkpoint(model, parents=self._parents, step=step, metrics=metrics)

    def facts(self) -> dict[str, Any]:
        """The run's setting in numbers."""
        return count_clips(self._training, self._held_out)


def _curves(values: Tensor) -> NDArray[np.float64]:
    """In pixels, rounded so that what stands still is not moved by the arithmetic's last digits."""
    return values.double().cpu().numpy().round(4)
