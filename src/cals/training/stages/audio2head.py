"""Audio2Head: how heads move to a voice, how keypoints move to speech, and the warped picture, all at once."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from cals.data.augment import VoiceAugment, voices
from cals.data.rooms import RoomAugment
from cals.data.store import ClipStore
from cals.data.windows import stretches
from cals.losses.motion import concordance
from cals.losses.reconstruction import l1
from cals.metrics.motion import span
from cals.models.audio2head import KEYPOINTS, Audio2Head, Audio2HeadConfig
from cals.models.discriminator import DiscriminatorConfig
from cals.models.head import POSE, head_pose, usual_eyes_px
from cals.models.sync import SyncModel
from cals.training.config import TrainConfig
from cals.training.heads import HeadBatch, HeadStage, draw_heads, draw_validation, measure_heads
from cals.training.judges import JudgesConfig, with_total
from cals.training.optim import ParameterGroup, learnable
from cals.training.stage import Losses

TURNS = POSE[:2]
"""What is left of head motion in aligned crops, and judged."""


@dataclass(frozen=True, kw_only=True)
class Audio2HeadStageConfig:
    """Published: the head by the likeness of its motion's structure, pictures by reconstruction, in stages of their own
    (Wang et al., 2021). Ours: concordance, which has that measure's form over the whole stretch; keypoints against the
    mesh; everything at once; features matched in place of VGG's; all weights ([D]).
    """

    model: Audio2HeadConfig = field(default_factory=Audio2HeadConfig)
    """Its audio encoder is that of the sync checkpoint, whatever is written here."""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=5e-4, betas=(0.5, 0.99), weight_decay=0.0))
    critic: DiscriminatorConfig = field(default_factory=lambda: DiscriminatorConfig(patches=True))
    judges: JudgesConfig = field(
        default_factory=lambda: JudgesConfig(gan=0.1, match=2.0, d_av=0.0, d_vv=0.0, whole=True)
    )
    clips: int = 8
    per_clip: int = 2
    frames: int = 50
    """Length of the stretches over which heads move, one a clip."""
    recon: float = 10.0
    keypoints: float = 10.0
    """Of their distance in inter-ocular distances, mean of x and y."""
    follow: float = 0.5
    """Of the concordance of the six numbers over time."""
    near: float = 0.1
    """Of their distance, in deviations."""
    audio_lr_share: float = 0.1
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)


class Audio2HeadStage(HeadStage):
    """Head, keypoints and pictures learn at once; nothing of one is a target of another, so their order is free."""

    name = "l2f-audio2head"
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
        self._set_up(config.judges, config.critic, sync, parents, training, held_out)
        self._poses = _measure_poses(training, self.model.crop_px)
        self._held_out_poses = {part: _measure_poses(store, self.model.crop_px) for part, store in held_out.items()}
        away = torch.cat([poses - poses.mean(dim=0) for poses in self._poses])
        self.model.head.spread.copy_(away.std(dim=0).clamp_min(1e-4))

    def parameter_groups(self) -> list[ParameterGroup]:
        """What is new, and the audio encoder, which is trained already."""
        heard = {id(p) for p in self.model.audio.parameters()}
        return [
            ParameterGroup(parameters=[p for p in learnable(self.model) if id(p) not in heard]),
            ParameterGroup(parameters=learnable(self.model.audio), lr_share=self.config.audio_lr_share),
        ]

    def losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """By name, each with its weight; `total` is their sum."""
        config, crop_px = self.config, self.model.crop_px
        counts = {"clips": config.clips, "per_clip": config.per_clip}
        batch = draw_heads(self._training, rng, device, **counts, **self._sizes, room=config.room)
        sound = voices(batch.sound, rng, config.voice, self.model.mel.floor_db)
        mel, wanted = self._stretches(rng)
        mel, wanted = voices(mel.to(device), rng, config.voice, self.model.mel.floor_db), wanted.to(device)
        pose = head_pose(batch.landmarks, crop_px)
        drawn, keypoints, poses = model(sound, batch.reference, batch.reference_landmarks, pose, mel, wanted[:, 0])
        losses = {
            "recon": config.recon * l1(drawn, batch.target),
            "keypoints": config.keypoints * self._keypoint_error(keypoints, batch.landmarks),
        }
        said, real = ((value - wanted[:, :1]) / self.model.head.spread for value in (poses, wanted))
        losses["follow"] = config.follow * concordance(said.transpose(1, 2), real.transpose(1, 2))
        losses["near"] = config.near * (said - real).abs().mean()
        return with_total(losses | self._judges.of_pictures(drawn, batch.target, self.step))

    def _stretches(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Mel [b m f] and the poses [b t 6] that belong to it."""
        config, step = self.config, self._sizes["step"]
        batch = stretches(self._training, rng, clips=config.clips, frames=config.frames, step=step, room=config.room)
        poses = [
            self._poses[clip][start : start + config.frames]
            for clip, start in zip(batch.clips, batch.starts, strict=True)
        ]
        return batch.mel, torch.stack(poses)

    def _keypoint_error(self, keypoints: Tensor, landmarks: Tensor) -> Tensor:
        """Mean absolute difference in inter-ocular distances of keypoints [b k 2] from where the mesh has them."""
        away = (keypoints - landmarks[:, list(KEYPOINTS), :2]).abs().mean()
        return away / usual_eyes_px(self.model.crop_px)

    def _draw_held_out(self, model: nn.Module, part: str, device: torch.device) -> tuple[HeadBatch, Tensor, Tensor]:
        assert isinstance(model, Audio2Head)
        batch = draw_validation(self._held_out[part], device, **self._sizes)
        pose = head_pose(batch.landmarks, model.crop_px)
        return batch, *model.draw(model.audio(batch.sound), batch.reference, batch.reference_landmarks, pose)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Of held-out frames in their own pose: `measure_heads`, and the error of keypoints beside that of still ones.

        Of whole held-out clips: how far heads swing against the real ones, where these move.
        """
        assert isinstance(model, Audio2Head)
        metrics: dict[str, float] = {}
        for part, store in self._held_out.items():
            batch, drawn, keypoints = self._draw_held_out(model, part, device)
            still = batch.reference_landmarks[:, list(KEYPOINTS), :2]
            metrics |= measure_heads(part, batch, drawn)
            metrics[f"{part}_keypoints"] = float(self._keypoint_error(keypoints, batch.landmarks))
            metrics[f"{part}_still_keypoints"] = float(self._keypoint_error(still, batch.landmarks))
            swings = []
            for i, real in enumerate(self._held_out_poses[part]):
                voice = model.voice(store.mel(i)[None].to(device))
                poses = model.head(voice, real[:1].to(device))[0][0].cpu()
                swings.append([span(poses[:, k].numpy(), real[:, k].numpy()) for k in range(len(TURNS))])
            for name, values in zip(TURNS, np.transpose(swings), strict=True):
                known = values[np.isfinite(values)]
                metrics |= {f"{part}_{name}_span": float(known.mean())} if len(known) else {}
        return metrics


def _measure_poses(store: ClipStore, crop_px: int) -> list[Tensor]:
    """Poses [t 6] of every clip, without decoding its pictures."""
    return [head_pose(torch.from_numpy(store.landmarks(i)), crop_px) for i in range(len(store))]
