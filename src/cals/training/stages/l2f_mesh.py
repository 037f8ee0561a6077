"""Lip-to-Face by mesh: joint training of Audio-to-Lip and the head, on the meshes and mouths of real faces."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cals.checkpoint import Checkpoint
from cals.data.augment import VoiceAugment, augment_voices
from cals.data.noises import NoiseAugment, NoiseBank, add_noise
from cals.data.rooms import RoomAugment
from cals.data.store import ClipStore
from cals.data.windows import add_pauses, resample, sample_windows
from cals.errors import ConfigError
from cals.losses.motion import concordance_loss
from cals.metrics.motion import correlation, span_ratio
from cals.models.cals import MeshLips
from cals.models.factory import to_checkpoint
from cals.models.geometry import measure_lip_gap
from cals.models.motion import MeshConfig, build_lip_readout
from cals.nn.masking import sample_span_mask
from cals.training.config import TrainConfig
from cals.training.mouths import Mouth
from cals.training.optim import ParameterGroup, list_trainable
from cals.training.stage import Losses, Stage, count_clips

_MAIN_COMPONENTS = 6
"""Components of appearance whose concordance counts; of the others little is predicted for strangers."""


@dataclass(frozen=True, kw_only=True)
class MeshStageConfig:
    """Batch and weights of the mesh decoder's stage; all of it is ours."""

    decoder: MeshConfig = field(default_factory=MeshConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=5e-4))
    clips: int = 16
    frames: int = 70
    """Length of a window in frames."""
    speakers: float = 0.25
    """Sampling exponent: 1 samples clips uniformly, 0 speakers."""
    a2l_lr_share: float = 1.0
    masked: float = 0.25
    """Share of partly masked windows, so that the network fills in missing audio."""
    budget: float = 0.4
    """Largest masked share of such a window, in spans as long as those of the Audio-to-Lip stage."""
    cut: float = 0.0
    """Share of steps with more but shorter windows, of 1 to `frames` frames, as short as in the context study.

    Such steps have no `follow` loss.
    """
    rate: float = 0.25
    """Largest relative change of the speech rate: no corpus covers all rates."""
    pauses: float = 0.25
    """Share of windows with an inserted pause, in which the mouth rests; read sentences have none."""
    motion: float = 1.0
    follow: float = 0.5
    """Weight of the concordance of mouth opening and width."""
    appearance: float = 1.0
    """Weight of the squared error of the mouth's appearance."""
    appearance_follow: float = 0.5
    """Weight of the concordance of its main components."""
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)
    noise: NoiseAugment = field(default_factory=NoiseAugment)

    def __post_init__(self) -> None:
        if not (0 <= self.masked <= 1 and 0 <= self.cut <= 1 and 0 < self.budget <= 1 and 0 <= self.rate < 1):
            raise ConfigError(f"l2f: expected masked, cut and rate from 0 to 1 and a budget above 0, found {self}")


class MeshStage(Stage):
    """Training of the mouth's motion and appearance from audio; the rendering of images needs no training."""

    name = "l2f-mesh"
    model: MeshLips

    def __init__(
        self,
        config: MeshStageConfig,
        model: MeshLips,
        parents: dict[str, str],
        training: ClipStore,
        held_out: dict[str, ClipStore],
        mouths: list[Mouth],
        held_out_mouths: dict[str, list[Mouth]],
    ) -> None:
        self.config, self.train, self.model = config, config.train, model
        self._parents = parents
        self._training, self._held_out = training, held_out
        self._mouths, self._held_out_mouths = mouths, held_out_mouths
        self._readout = build_lip_readout(model.decoder.mesh)
        self._noise_bank = NoiseBank(model.mel)

    def build_parameter_groups(self) -> list[ParameterGroup]:
        """Return two groups: Audio-to-Lip is pretrained and may have a lower learning rate."""
        return [
            ParameterGroup(parameters=list_trainable(self.model.a2l), lr_share=self.config.a2l_lr_share),
            ParameterGroup(parameters=list_trainable(self.model.decoder)),
        ]

    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """Compute the weighted losses by name; `total` is their sum."""
        config = self.config
        is_cut = config.cut > 0 and rng.random() < config.cut
        frames = round(config.frames ** rng.random()) if is_cut else config.frames
        mel, target, speaking = self._sample_windows(rng, frames)
        hidden = torch.from_numpy(np.stack([self._sample_mask(rng, frames) for _ in mel])).to(device)
        motion, appearance = model(mel.to(device), hidden)
        target_motion, target_appearance = target.to(device).tensor_split([motion.shape[-1]], dim=-1)
        losses = self._compute_motion_losses(
            motion, target_motion, speaking.to(device), follow=0.0 if is_cut else config.follow
        )
        losses |= self._compute_appearance_losses(
            appearance, target_appearance, follow=0.0 if is_cut else config.appearance_follow
        )
        return losses | {"total": torch.stack(list(losses.values())).sum()}

    def _sample_windows(self, rng: np.random.Generator, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Sample log-mels [b m f], target motion and appearance [b t k + j], and a mask of windows with speech [b]."""
        config, step = self.config, self.model.mel.timing.mels_per_frame
        rate = float(np.exp(rng.uniform(-1, 1) * np.log1p(config.rate)))
        longest = max(self._training.frames(i) for i in range(len(self._training)))
        length = max(1, min(round(frames * rate), max(longest, frames)))
        batch = sample_windows(
            self._training,
            rng,
            clips=config.clips * min(config.frames // frames, 8),
            frames=length,
            step=step,
            room=config.room,
            power=config.speakers,
        )
        target = torch.stack(
            [
                self._mouths[clip].target[start : start + length]
                for clip, start in zip(batch.clips, batch.starts, strict=True)
            ]
        )
        mel, target = resample(batch.mel, frames * step), resample(target, frames)
        rest = torch.stack([self._mouths[clip].rest for clip in batch.clips])[:, None]
        mel, change = add_pauses(mel, target - rest, rng, share=config.pauses, floor_db=self.model.mel.floor_db)
        mel, alone = add_noise(mel, rng, config.noise, self._noise_bank)
        mel = augment_voices(mel, rng, config.voice, self.model.mel.floor_db)
        speaking = torch.from_numpy(~alone)
        return mel, rest + change * speaking[:, None, None], speaking

    def _sample_mask(self, rng: np.random.Generator, frames: int) -> NDArray[np.bool_]:
        """Sample the mask [t] of a window."""
        if frames < self.config.frames or rng.random() >= self.config.masked:
            return np.zeros(frames, dtype=bool)
        return sample_span_mask(frames, rng, budget=self.config.budget)

    def _compute_motion_losses(self, motion: Tensor, target: Tensor, speaking: Tensor, follow: float) -> Losses:
        energy = self.model.decoder.mesh.basis.square().sum(dim=(1, 2))
        shares = 0.9 * energy / energy.sum() + 0.1 / len(energy)  # some weight for small motions like pouting
        readout = self._readout.to(motion.device)
        pred, real = (motion[speaking] @ readout).transpose(1, 2), (target[speaking] @ readout).transpose(1, 2)
        losses = {"motion": self.config.motion * ((motion - target).square() * shares).sum(dim=-1).mean()}
        if len(pred):
            losses["follow"] = follow * concordance_loss(pred, real)
        return losses

    def _compute_appearance_losses(self, appearance: Tensor, target: Tensor, follow: float) -> Losses:
        if not appearance.shape[-1]:
            return {}
        error = (appearance - target).square().sum(dim=-1).mean()
        pred, real = (values[..., :_MAIN_COMPONENTS].transpose(1, 2) for values in (appearance, target))
        return {
            "appearance": self.config.appearance * error,
            "appearance_follow": follow * concordance_loss(pred, real),
        }

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Compute correlation of opening, width and appearance, and span of opening, on held-out clips, and the opening
        for noise.

        A clip whose mouth does not move has no span; a part of such clips alone has none.
        """
        assert isinstance(model, MeshLips)
        metrics: dict[str, float] = {}
        readout = self._readout.to(device)
        for part, store in self._held_out.items():
            rows = []
            for i, mouth in enumerate(self._held_out_mouths[part]):
                motion, appearance = model.decoder.predict(model.predict_units(store.mel(i)[None].to(device))[0])
                target, target_appearance = mouth.target.to(device).tensor_split([motion.shape[-1]], dim=-1)
                pred, real = _to_curves(motion @ readout), _to_curves(target @ readout)
                row = {name: correlation(pred[:, j], real[:, j]) for j, name in enumerate(("opening", "width"))}
                row["span"] = span_ratio(pred[:, 0], real[:, 0])
                if appearance.shape[-1]:
                    row["appearance"] = correlation(
                        _to_curves(appearance).ravel(), _to_curves(target_appearance).ravel()
                    )
                rows.append(row)
            for name in rows[0]:
                values = np.array([row[name] for row in rows])
                finite = values[np.isfinite(values)]
                metrics |= {f"{part}_{name}": float(finite.mean())} if len(finite) else {}
        noise = model.predict_motion(model.predict_units(self._noise_bank.mels[::8].to(device) - 20)) @ measure_lip_gap(
            model.decoder.mesh.basis
        )
        return metrics | {"noise_opening": float(noise.mean() / model.decoder.opening_px)}

    def build_checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """Pack the whole lip model into the checkpoint that `cals generate` loads."""
        assert isinstance(model, MeshLips)
        return to_checkpoint(model, parents=self._parents, step=step, metrics=metrics)

    def describe_run(self) -> dict[str, Any]:
        """Return the numbers of clips and speakers."""
        return count_clips(self._training, self._held_out)


def _to_curves(values: Tensor) -> NDArray[np.float64]:
    """Convert to NumPy, rounded so that constant curves stay constant despite floating point errors; pixels."""
    return values.cpu().double().numpy().round(4)
