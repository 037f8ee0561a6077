"""Audio2Head: joint training of head motion, keypoint motion and the warping generator."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from cals.data.augment import augment_voices
from cals.data.store import ClipStore
from cals.data.windows import sample_windows
from cals.losses.motion import concordance_loss
from cals.losses.reconstruction import l1
from cals.metrics.motion import span_ratio
from cals.models.audio2head import KEYPOINTS, Audio2Head, Audio2HeadConfig
from cals.models.head import POSE_NAMES, compute_eye_distance_px, estimate_head_pose
from cals.models.sync import SyncModel
from cals.training.config import TrainConfig
from cals.training.heads import HeadBatch, HeadStage, HeadStageConfig, measure_heads, sample_validation_heads
from cals.training.optim import ParameterGroup, list_trainable
from cals.training.perceptual import PerceptualLossConfig, add_total
from cals.training.stage import Losses

ROTATIONS = POSE_NAMES[:2]
"""Rotations that aligned crops keep, and that validation measures."""


@dataclass(frozen=True, kw_only=True)
class Audio2HeadStageConfig(HeadStageConfig):
    """Losses follow Wang et al. (2021), with changes of ours; all weights are ours ([D]).

    Published are a structural similarity of head motion and the reconstruction of images, trained in separate stages.
    Ours are concordance, which has the form of that similarity over a whole window, and keypoints supervised by the
    mesh. Training is joint, and feature matching in the discriminator replaces VGG.
    """

    model: Audio2HeadConfig = field(default_factory=Audio2HeadConfig)
    """The config of its audio encoder is replaced by that of the sync checkpoint."""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=5e-4, betas=(0.5, 0.99), weight_decay=0.0))
    perceptual: PerceptualLossConfig = field(
        default_factory=lambda: PerceptualLossConfig(gan=0.1, match=2.0, d_av=0.0, d_vv=0.0, whole=True)
    )
    clips: int = 8
    frames: int = 50
    """Length of the windows of head motion in frames, one per clip."""
    keypoints: float = 10.0
    """Weight of their error in inter-ocular distances, mean of x and y."""
    follow: float = 0.5
    """Weight of the concordance of the six pose numbers over time."""
    near: float = 0.1
    """Weight of their L1 error, in standard deviations."""
    audio_lr_share: float = 0.1


class Audio2HeadStage(HeadStage):
    """Joint training of head motion, keypoints and generator; none of them is a target of another."""

    name = "l2f-audio2head"
    config: Audio2HeadStageConfig
    model: Audio2Head

    def __init__(
        self,
        config: Audio2HeadStageConfig,
        sync: SyncModel,
        parents: dict[str, str],
        training: ClipStore,
        held_out: dict[str, ClipStore],
    ) -> None:
        self.config, self.train = config, config.train
        self.model = Audio2Head(dataclasses.replace(config.model, mel=sync.config.mel, content=sync.config))
        self.model.audio.load_state_dict(sync.audio.state_dict())
        self._set_up(config.perceptual, config.discriminator, sync, parents, training, held_out)
        self._poses = _measure_poses(training, self.model.crop_px)
        self._held_out_poses = {part: _measure_poses(store, self.model.crop_px) for part, store in held_out.items()}
        deviations = torch.cat([poses - poses.mean(dim=0) for poses in self._poses])
        self.model.head.spread.copy_(deviations.std(dim=0).clamp_min(1e-4))

    def build_parameter_groups(self) -> list[ParameterGroup]:
        """Return the new parts, and the pretrained audio encoder."""
        pretrained = {id(p) for p in self.model.audio.parameters()}
        return [
            ParameterGroup(parameters=[p for p in list_trainable(self.model) if id(p) not in pretrained]),
            ParameterGroup(parameters=list_trainable(self.model.audio), lr_share=self.config.audio_lr_share),
        ]

    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """Compute the weighted losses by name; `total` is their sum."""
        config, crop_px = self.config, self.model.crop_px
        batch, sound = self._sample_batch(rng, device)
        mel, target_poses = self._sample_poses(rng)
        mel, target_poses = (
            augment_voices(mel.to(device), rng, config.voice, self.model.mel.floor_db),
            target_poses.to(device),
        )
        pose = estimate_head_pose(batch.landmarks, crop_px)
        generated, keypoints, poses = model(
            sound, batch.reference, batch.reference_landmarks, pose, mel, target_poses[:, 0]
        )
        losses = {
            "recon": config.recon * l1(generated, batch.target),
            "keypoints": config.keypoints * self._compute_keypoint_error(keypoints, batch.landmarks),
        }
        pred, real = ((value - target_poses[:, :1]) / self.model.head.spread for value in (poses, target_poses))
        losses["follow"] = config.follow * concordance_loss(pred.transpose(1, 2), real.transpose(1, 2))
        losses["near"] = config.near * (pred - real).abs().mean()
        return add_total(losses | self._perceptual_losses.compute_image_losses(generated, batch.target, self.step))

    def _sample_poses(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Sample mel [b m f] and its poses [b t 6]."""
        config, step = self.config, self._sizes["step"]
        batch = sample_windows(
            self._training, rng, clips=config.clips, frames=config.frames, step=step, room=config.room
        )
        poses = [
            self._poses[clip][start : start + config.frames]
            for clip, start in zip(batch.clips, batch.starts, strict=True)
        ]
        return batch.mel, torch.stack(poses)

    def _compute_keypoint_error(self, keypoints: Tensor, landmarks: Tensor) -> Tensor:
        """Compute the mean absolute error of keypoints [b k 2] against the mesh, in inter-ocular distances."""
        error = (keypoints - landmarks[:, list(KEYPOINTS), :2]).abs().mean()
        return error / compute_eye_distance_px(self.model.crop_px)

    def _generate_held_out(self, model: nn.Module, part: str, device: torch.device) -> tuple[HeadBatch, Tensor, Tensor]:
        assert isinstance(model, Audio2Head)
        batch = sample_validation_heads(self._held_out[part], device, **self._sizes)
        pose = estimate_head_pose(batch.landmarks, model.crop_px)
        return batch, *model.generate(model.audio(batch.sound), batch.reference, batch.reference_landmarks, pose)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Compute `measure_heads` of held-out frames in their own pose, and errors of predicted and of still keypoints.

        For whole held-out clips, compute the span of head rotation relative to the real one, where the real head moves.
        """
        assert isinstance(model, Audio2Head)
        metrics: dict[str, float] = {}
        for part, store in self._held_out.items():
            batch, generated, keypoints = self._generate_held_out(model, part, device)
            still = batch.reference_landmarks[:, list(KEYPOINTS), :2]
            metrics |= measure_heads(part, batch, generated)
            metrics[f"{part}_keypoints"] = float(self._compute_keypoint_error(keypoints, batch.landmarks))
            metrics[f"{part}_still_keypoints"] = float(self._compute_keypoint_error(still, batch.landmarks))
            spans = []
            for i, real in enumerate(self._held_out_poses[part]):
                voice = model.compute_levels(store.mel(i)[None].to(device))
                poses = model.head(voice, real[:1].to(device))[0][0].cpu()
                spans.append([span_ratio(poses[:, k].numpy(), real[:, k].numpy()) for k in range(len(ROTATIONS))])
            for name, values in zip(ROTATIONS, np.transpose(spans), strict=True):
                finite = values[np.isfinite(values)]
                metrics |= {f"{part}_{name}_span": float(finite.mean())} if len(finite) else {}
        return metrics


def _measure_poses(store: ClipStore, crop_px: int) -> list[Tensor]:
    """Estimate poses [t 6] of every clip, without decoding video."""
    return [estimate_head_pose(torch.from_numpy(store.landmarks(i)), crop_px) for i in range(len(store))]
