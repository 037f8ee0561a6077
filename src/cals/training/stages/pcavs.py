"""PC-AVS: crops from a reference's identity, an augmented image's pose, and visual or audio speech content."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from cals.data.augment import FaceAugment, augment_faces
from cals.data.store import ClipStore
from cals.errors import ConfigError
from cals.losses.contrastive import info_nce, retrieval_accuracy
from cals.losses.reconstruction import l1
from cals.models.pcavs import PCAVS, PCAVSConfig
from cals.models.sync import SyncModel
from cals.training.config import TrainConfig
from cals.training.heads import HeadBatch, HeadStage, HeadStageConfig, measure_heads, sample_validation_heads
from cals.training.optim import ParameterGroup, list_trainable
from cals.training.perceptual import PerceptualLossConfig, add_total
from cals.training.stage import Losses

POSE_AUGMENT = FaceAugment(turn_deg=0.0, shift=0.0, flip=False)
"""Augmentation of the pose image: appearance and light may change, the pose may not."""


@dataclass(frozen=True, kw_only=True)
class PCAVSStageConfig(HeadStageConfig):
    """Losses are published: L1, perceptual, GAN and contrastive (Zhou et al., 2021); all weights are ours ([D]).

    There are no VGG weights with a free licence, so the perceptual loss is feature matching in the discriminator.
    """

    model: PCAVSConfig = field(default_factory=PCAVSConfig)
    """The config of its content encoders is replaced by that of the sync checkpoint."""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=1e-3, betas=(0.5, 0.99), weight_decay=0.0))
    perceptual: PerceptualLossConfig = field(
        default_factory=lambda: PerceptualLossConfig(gan=0.2, match=2.0, d_av=0.0, d_vv=0.0, whole=True)
    )
    per_clip: int = 4
    """Windows of one clip, which are hard negatives for each other."""
    contrast: float = 0.5
    seen: float = 0.5
    """Share of frames that are generated from visual content; the others use audio content."""
    content_lr_share: float = 0.1
    """Learning rate of the pretrained content encoders as a share of the others'."""
    pose: FaceAugment = POSE_AUGMENT

    def __post_init__(self) -> None:
        if not 0 <= self.seen <= 1 or min(self.clips, self.per_clip) < 1:
            raise ConfigError(f"pcavs: expected a share `seen` from 0 to 1 and one clip or more, found {self}")
        if self.pose.flip:
            raise ConfigError(
                "pcavs: expected pose pictures that are not mirrored, found flip; a mirror turns the head"
            )


class PCAVSStage(HeadStage):
    """Joint training of all parts; the content encoders start from the sync stage."""

    name = "l2f-pcavs"
    config: PCAVSStageConfig
    model: PCAVS

    def __init__(
        self,
        config: PCAVSStageConfig,
        sync: SyncModel,
        parents: dict[str, str],
        training: ClipStore,
        held_out: dict[str, ClipStore],
    ) -> None:
        self.config, self.train = config, config.train
        self.model = PCAVS(dataclasses.replace(config.model, mel=sync.config.mel, content=sync.config))
        self.model.content.load_state_dict(sync.state_dict())
        self._set_up(config.perceptual, config.discriminator, sync, parents, training, held_out)

    def build_parameter_groups(self) -> list[ParameterGroup]:
        """Return the new parts, and the pretrained content encoders."""
        parts = [self.model.identity, self.model.pose, self.model.generator]
        return [
            ParameterGroup(parameters=[p for part in parts for p in list_trainable(part)]),
            ParameterGroup(parameters=list_trainable(self.model.content), lr_share=self.config.content_lr_share),
        ]

    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """Compute the weighted losses by name; `total` is their sum."""
        config = self.config
        batch, sound = self._sample_batch(rng, device)
        seen = torch.from_numpy(rng.random(len(sound)) < config.seen).to(device)
        pose_images = augment_faces(batch.target[:, None], rng, config.pose)[:, 0]
        generated, audio, visual = model(sound, batch.windows, seen, batch.reference, pose_images)
        losses = {
            "recon": config.recon * l1(generated, batch.target),
            "contrast": config.contrast * info_nce(audio, visual),
        }
        return add_total(losses | self._perceptual_losses.compute_image_losses(generated, batch.target, self.step))

    def _generate_held_out(
        self, model: nn.Module, part: str, device: torch.device
    ) -> tuple[HeadBatch, Tensor, Tensor, Tensor]:
        batch = sample_validation_heads(self._held_out[part], device, **self._sizes)
        use_visual = torch.zeros(len(batch.sound), dtype=torch.bool, device=device)
        return batch, *model(batch.sound, batch.windows, use_visual, batch.reference, batch.target)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Compute `measure_heads` of held-out frames generated from audio, and the encoders' retrieval accuracy."""
        metrics: dict[str, float] = {}
        for part in self._held_out:
            batch, generated, audio, visual = self._generate_held_out(model, part, device)
            metrics |= measure_heads(part, batch, generated) | {
                f"{part}_found": float(retrieval_accuracy(audio, visual))
            }
        return metrics
