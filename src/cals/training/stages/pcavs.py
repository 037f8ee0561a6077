"""PC-AVS: crops from a reference's identity, a changed picture's pose and what is said, seen or heard."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from cals.data.augment import FaceAugment, VoiceAugment, faces, voices
from cals.data.rooms import RoomAugment
from cals.data.store import ClipStore
from cals.errors import ConfigError
from cals.losses.contrastive import info_nce, retrieval_accuracy
from cals.losses.reconstruction import l1
from cals.models.discriminator import DiscriminatorConfig
from cals.models.pcavs import PCAVS, PCAVSConfig
from cals.models.sync import SyncModel
from cals.training.config import TrainConfig
from cals.training.heads import HeadBatch, HeadStage, draw_heads, draw_validation, measure_heads
from cals.training.judges import JudgesConfig, with_total
from cals.training.optim import ParameterGroup, learnable
from cals.training.stage import Losses

POSE_AUGMENT = FaceAugment(turn_deg=0.0, shift=0.0, flip=False)
"""The pose picture may be anybody in any light, but is held the same way."""


@dataclass(frozen=True, kw_only=True)
class PCAVSStageConfig:
    """Published: L1 + perceptual + GAN + contrastive (Zhou et al., 2021). No VGG weights whose licence is free are at
    hand, so the perceptual loss is the matching of the discriminator's features; all weights are ours ([D]).
    """

    model: PCAVSConfig = field(default_factory=PCAVSConfig)
    """Its content encoders are those of the sync checkpoint, whatever is written here."""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=1e-3, betas=(0.5, 0.99), weight_decay=0.0))
    critic: DiscriminatorConfig = field(default_factory=lambda: DiscriminatorConfig(patches=True))
    judges: JudgesConfig = field(
        default_factory=lambda: JudgesConfig(gan=0.2, match=2.0, d_av=0.0, d_vv=0.0, whole=True)
    )
    clips: int = 4
    per_clip: int = 4
    """Windows of one clip: they are each other's hard negatives."""
    recon: float = 10.0
    contrast: float = 0.5
    seen: float = 0.5
    """Share of the frames that are drawn from what is said as it is seen; the others from what is heard."""
    content_lr_share: float = 0.1
    """The content encoders have learnt already what belongs together, and go on slowly."""
    pose: FaceAugment = POSE_AUGMENT
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)

    def __post_init__(self) -> None:
        if not 0 <= self.seen <= 1 or min(self.clips, self.per_clip) < 1:
            raise ConfigError(f"pcavs: expected a share `seen` from 0 to 1 and one clip or more, found {self}")
        if self.pose.flip:
            raise ConfigError(
                "pcavs: expected pose pictures that are not mirrored, found flip; a mirror turns the head"
            )


class PCAVSStage(HeadStage):
    """All parts learn at once, the content encoders from where the sync stage left them."""

    name = "l2f-pcavs"
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
        self._set_up(config.judges, config.critic, sync, parents, training, held_out)

    def parameter_groups(self) -> list[ParameterGroup]:
        """What is new, and what is trained already."""
        parts = [self.model.identity, self.model.pose, self.model.generator]
        return [
            ParameterGroup(parameters=[p for part in parts for p in learnable(part)]),
            ParameterGroup(parameters=learnable(self.model.content), lr_share=self.config.content_lr_share),
        ]

    def losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """By name, each with its weight; `total` is their sum."""
        config = self.config
        counts = {"clips": config.clips, "per_clip": config.per_clip}
        batch = draw_heads(self._training, rng, device, **counts, **self._sizes, room=config.room)
        sound = voices(batch.sound, rng, config.voice, self.model.mel.floor_db)
        seen = torch.from_numpy(rng.random(len(sound)) < config.seen).to(device)
        posed = faces(batch.target[:, None], rng, config.pose)[:, 0]
        drawn, heard, read = model(sound, batch.windows, seen, batch.reference, posed)
        losses = {"recon": config.recon * l1(drawn, batch.target), "contrast": config.contrast * info_nce(heard, read)}
        return with_total(losses | self._judges.of_pictures(drawn, batch.target, self.step))

    def _draw_held_out(
        self, model: nn.Module, part: str, device: torch.device
    ) -> tuple[HeadBatch, Tensor, Tensor, Tensor]:
        batch = draw_validation(self._held_out[part], device, **self._sizes)
        heard_only = torch.zeros(len(batch.sound), dtype=torch.bool, device=device)
        return batch, *model(batch.sound, batch.windows, heard_only, batch.reference, batch.target)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Of held-out frames drawn from their sound: `measure_heads`, and how often sound finds its picture."""
        metrics: dict[str, float] = {}
        for part in self._held_out:
            batch, drawn, heard, read = self._draw_held_out(model, part, device)
            metrics |= measure_heads(part, batch, drawn) | {f"{part}_found": float(retrieval_accuracy(heard, read))}
        return metrics
