"""Lip-to-Face by mesh: what moves is learned from the meshes of real faces, what it uncovers from pairs of frames."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cals.checkpoint import Checkpoint
from cals.data.augment import VoiceAugment, voices
from cals.data.rooms import RoomAugment
from cals.data.store import ClipStore
from cals.data.windows import SYNC_FRAMES, speaker_weights, stretches
from cals.errors import ConfigError
from cals.face.landmarks import MOUTH_OUTER
from cals.losses.motion import concordance
from cals.metrics.motion import correlation, span
from cals.models.discriminator import DiscriminatorConfig
from cals.models.factory import to_checkpoint
from cals.models.mesh import FaceMesh, lip_gap, measured
from cals.models.mesh_decoder import MeshConfig, Views
from cals.models.refine import BOTTOM, LEFT, RIGHT, TOP
from cals.models.speaking import MeshLips, Whole
from cals.models.sync import SyncModel
from cals.nn.masking import span_mask
from cals.nn.warp import drawn_polygon
from cals.training.config import TrainConfig
from cals.training.judges import Judges, JudgesConfig, with_total
from cals.training.optim import ParameterGroup, learnable
from cals.training.pairs import Look, LookAugment, Pair, batched, drawn_pair, geometry_of, open_frame
from cals.training.sheet import training_sheet
from cals.training.stage import Losses, Stage

CLIPS_OF_ONE = 40
VALIDATION_PAIRS = 48


@dataclass(frozen=True, kw_only=True)
class MeshStageConfig:
    """Batch and weights of the mesh decoder's stage; all of it is ours but the kinds of losses (paper section 1)."""

    decoder: MeshConfig = field(default_factory=MeshConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=5e-4))
    critic: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    judges: JudgesConfig = field(default_factory=JudgesConfig)
    clips: int = 16
    frames: int = 70
    """Stretches whose motion is said, and their length."""
    speakers: float = 0.25
    """Between clips drawn evenly (1) and speakers drawn evenly (0)."""
    pairs: int = 24
    """Pairs of frames of one clip, of which the one is drawn from the other."""
    windows: int = 4
    """Stretches of which a window is drawn from its sound, for the losses d_av and d_vv; none if neither has weight."""
    a2l_lr_share: float = 1.0
    masked: float = 0.25
    """Share of the stretches of which a part is hidden, so that what is missing in the sound is still filled in."""
    budget: float = 0.4
    """How much of these is hidden at most, in spans as long as Audio-to-Lip's own stage hides."""
    cut: float = 0.0
    """Share of the steps whose stretches are of 1 to `frames` frames, more of them: so that sound cut short is nothing
    new, as the context study cuts it. Such steps teach motion only, without `follow` and windows."""
    motion: float = 1.0
    follow: float = 0.5
    """Weight of the concordance of mouth opening and width."""
    recon: float = 10.0
    mouth: float = 4.0
    """How much more than the rest of the refined region the lips and what is between them count in `recon`."""
    no_bank: float = 0.2
    """Share of pairs whose bank is a closed mouth, as a photo's is."""
    look: LookAugment = field(default_factory=LookAugment)
    voice: VoiceAugment = field(default_factory=VoiceAugment)
    room: RoomAugment = field(default_factory=RoomAugment)

    def __post_init__(self) -> None:
        if not (0 <= self.masked <= 1 and 0 <= self.cut <= 1 and 0 < self.budget <= 1):
            raise ConfigError(f"l2f: expected masked and cut from 0 to 1 and a budget above 0, found {self}")
        if not 0 <= self.windows <= self.clips:
            raise ConfigError(f"l2f: expected windows from 0 to the {self.clips} clips, found {self.windows}")
        if self.judges.listen and not self.windows:
            raise ConfigError(
                f"l2f: expected windows > 0 for the losses d_av {self.judges.d_av:g} and d_vv {self.judges.d_vv:g}, "
                "found 0; give windows, or no weight to both"
            )


class MeshStage(Stage):
    """Audio-to-Lip and the mesh decoder together: motion against the real mesh, pictures against real frames."""

    name = "l2f-mesh"
    model: MeshLips

    def __init__(
        self,
        config: MeshStageConfig,
        model: MeshLips,
        parents: dict[str, str],
        sync: SyncModel,
        training: ClipStore,
        held_out: dict[str, ClipStore],
        offsets: Sequence[float] | None = None,
    ) -> None:
        self.config, self.train, self.model = config, config.train, model
        self._parents = parents
        self._training, self._held_out = training, held_out
        self._faces = geometry_of(model.decoder.mesh, training, offsets)
        self._held_out_faces = {part: geometry_of(model.decoder.mesh, store) for part, store in held_out.items()}
        self._judges = Judges(config.judges, config.critic, sync)
        self.critic, self.critic_lr = self._judges.critic, config.judges.critic_lr
        self.critic_from_step = config.judges.critic_from_step
        self._readout = _readout(model.decoder.mesh)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Audio-to-Lip is trained already and follows more slowly."""
        return [
            ParameterGroup(parameters=learnable(self.model.a2l), lr_share=self.config.a2l_lr_share),
            ParameterGroup(parameters=learnable(self.model.decoder)),
        ]

    def losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """By name, each with its weight; `total` is their sum."""
        config = self.config
        mels_per_frame = self.model.mel.timing.mels_per_frame
        cut = config.cut > 0 and rng.random() < config.cut
        frames = round(config.frames ** rng.random()) if cut else config.frames
        batch = stretches(
            self._training,
            rng,
            clips=config.clips * min(config.frames // frames, 8),
            frames=frames,
            step=mels_per_frame,
            room=config.room,
            power=config.speakers,
        )
        mel = voices(batch.mel.to(device), rng, config.voice, self.model.mel.floor_db)
        real = torch.stack(
            [
                self._faces[clip].heard[start : start + frames]
                for clip, start in zip(batch.clips, batch.starts, strict=True)
            ]
        ).to(device)
        views, target, said, wanted = self._pairs(rng, device)
        spoken, windows = (None, torch.empty(0)) if cut else self._windows(rng, batch.clips, batch.starts, device)
        hidden = torch.from_numpy(np.stack([self._hidden(rng, frames) for _ in batch.clips])).to(device)
        motion, drawn, speaking = model(mel, hidden, Whole(views, target, said), spoken)
        losses = self._motion_losses(motion, real, follow=0.0 if cut else config.follow)
        losses |= {"recon": config.recon * self._distance(drawn, wanted, target)}
        losses |= self._judges.of_pictures(drawn, wanted, self.step)
        if speaking is not None:
            which = torch.arange(len(windows))
            first = (config.frames - SYNC_FRAMES) // 2 * mels_per_frame
            sound = batch.mel[which, first : first + SYNC_FRAMES * mels_per_frame].to(device)
            losses |= self._judges.of_windows(speaking.view_as(windows), windows, sound, self.step)
        return with_total(losses)

    def _hidden(self, rng: np.random.Generator, frames: int) -> NDArray[np.bool_]:
        """The steps of a stretch that are not heard, [t]."""
        if frames < self.config.frames or rng.random() >= self.config.masked:
            return np.zeros(frames, dtype=bool)
        return span_mask(frames, rng, budget=self.config.budget)

    def critic_losses(self, critic: nn.Module) -> Losses:
        """As the judges have it."""
        return self._judges.critic_losses(critic)

    def _motion_losses(self, motion: Tensor, real: Tensor, follow: float) -> Losses:
        energy = self.model.decoder.mesh.basis.square().sum(dim=(1, 2))
        shares = 0.9 * energy / energy.sum() + 0.1 / len(energy)  # a little for what is small but seen, like pouting
        readout = self._readout.to(motion.device)
        apart = concordance((motion @ readout).transpose(1, 2), (real @ readout).transpose(1, 2))
        return {
            "motion": self.config.motion * ((motion - real).square() * shares).sum(dim=-1).mean(),
            "follow": follow * apart,
        }

    def _distance(self, drawn: Tensor, wanted: Tensor, target: Tensor) -> Tensor:
        lips = drawn_polygon(target[:, list(MOUTH_OUTER), :2], *drawn.shape[-2:])
        weights = 1 + self.config.mouth * lips
        region = (..., slice(TOP, BOTTOM), slice(LEFT, RIGHT))
        away, weights = (drawn - wanted)[region], weights[region]
        # The slopes keep teeth and lip lines sharp, where the plain distance would rather be grey.
        slopes = (away.diff(dim=-1).abs() * weights[..., 1:]).mean() + (
            away.diff(dim=-2).abs() * weights[..., 1:, :]
        ).mean()
        return (away.abs() * weights).mean() + slopes

    def _pairs(self, rng: np.random.Generator, device: torch.device) -> tuple[Views, Tensor, Tensor, Tensor]:
        """Views, target landmarks and motion, and the real target crops; two frames of a clip each."""
        odds = speaker_weights(self._training.speakers, power=self.config.speakers)
        drawn = [
            drawn_pair(self._training[int(clip)], self._faces[int(clip)], rng, self.config.no_bank, self.config.look)
            for clip in rng.choice(len(self._training), size=self.config.pairs, p=odds)
        ]
        return batched(drawn, device)

    def _windows(
        self, rng: np.random.Generator, clips: tuple[int, ...], starts: tuple[int, ...], device: torch.device
    ) -> tuple[Whole | None, Tensor]:
        """The middle windows of the first stretches: views with their rest and which units they say; the real crops."""
        count, frames = self.config.windows, self.config.frames
        if not count or not self.config.judges.listen:
            return None, torch.empty(0)
        drawn, rests, which = [], [], []
        middle = (frames - SYNC_FRAMES) // 2
        for row, (clip, start) in enumerate(zip(clips[:count], starts[:count], strict=True)):
            loaded, face = self._training[clip], self._faces[clip]
            for frame in range(middle, middle + SYNC_FRAMES):
                here = start + frame
                drawn.append(
                    Pair(
                        source=here, target=here, bank=open_frame(face, here, rng), clip=loaded, face=face, look=Look()
                    )
                )
                rests.append(face.rest)
                which.append(row * frames + frame)
        views, _, _, real = batched(drawn, device, whole=False)
        spoken = Whole(views, torch.stack(rests).to(device), torch.tensor(which, device=device))
        return spoken, real.unflatten(0, (count, SYNC_FRAMES))  # type: ignore[no-untyped-call]

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Of whole held-out clips: correlation of opening and width, span of opening; of pairs: PSNR of the mouth.

        A clip whose mouth stands still has no span; where all do there is none.
        """
        assert isinstance(model, MeshLips)
        metrics: dict[str, float] = {}
        readout = self._readout.to(device)
        for part, store in self._held_out.items():
            rows = []
            for i, face in enumerate(self._held_out_faces[part]):
                units = model.units(store[i].mel[None].to(device))
                said = _curves(model.decoder.motion(units)[0] @ readout)
                real = _curves(face.motion.to(device) @ readout)
                rows.append([*(correlation(said[:, j], real[:, j]) for j in (0, 1)), span(said[:, 0], real[:, 0])])
            for name, values in zip(("opening", "width", "span"), np.transpose(rows), strict=True):
                known = values[np.isfinite(values)]
                metrics |= {f"{part}_{name}": float(known.mean())} if len(known) else {}
            drawn, wanted, composed, target = self._held_out_pairs(model, part, device)
            metrics |= {
                f"{part}_mouth_psnr": _mouth_psnr(drawn, wanted, target),
                f"{part}_warp_psnr": _mouth_psnr(composed, wanted, target),
            }
        return metrics

    def _held_out_pairs(
        self, model: MeshLips, part: str, device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rng = np.random.default_rng(0)
        store, faces = self._held_out[part], self._held_out_faces[part]
        chosen = rng.choice(len(store), size=VALIDATION_PAIRS)
        views, target, said, wanted = batched([drawn_pair(store[int(i)], faces[int(i)], rng) for i in chosen], device)
        return model.decoder.draw(views, target, said), wanted, model.decoder.compose(views, target)[0], target

    def picture(self, model: nn.Module, device: torch.device, path: Path) -> None:
        """A sheet of held-out pairs."""
        assert isinstance(model, MeshLips)
        for part in self._held_out:
            drawn, wanted, composed, _ = self._held_out_pairs(model, part, device)
            training_sheet(path.with_stem(f"{path.stem}-{part}"), composed[:10], wanted[:10], drawn[:10])

    def checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """A whole lip model, as `cals generate` takes it."""
        assert isinstance(model, MeshLips)
        return to_checkpoint(model, parents=self._parents, step=step, metrics=metrics)

    def facts(self) -> dict[str, Any]:
        """The run's setting in numbers."""
        held_out = {part: len(store) for part, store in self._held_out.items()}
        return {"clips": len(self._training), "speakers": len(set(self._training.speakers)), "held_out": held_out}


def measured_mesh(store: ClipStore, components: int) -> FaceMesh:
    """The mesh of the training set, from at most `CLIPS_OF_ONE` clips of each speaker."""
    taken: dict[str, int] = {}
    clips, speakers = [], []
    for i, speaker in enumerate(store.speakers):
        taken[speaker] = taken.get(speaker, 0) + 1
        if taken[speaker] <= CLIPS_OF_ONE:
            clips.append(store.landmarks(i))
            speakers.append(speaker)
    return measured(clips, speakers, components)


def _readout(mesh: FaceMesh) -> Tensor:
    """Opening and width in pixels as linear functions of the coefficients, [k 2]."""
    width = mesh.basis[:, 291, 0] - mesh.basis[:, 61, 0]
    return torch.stack([lip_gap(mesh.basis), width], dim=1)


def _curves(values: Tensor) -> NDArray[np.float64]:
    """In pixels, rounded so that what stands still is not moved by the arithmetic's last digits."""
    return values.double().cpu().numpy().round(4)


def _mouth_psnr(drawn: Tensor, wanted: Tensor, target: Tensor) -> float:
    """Mean PSNR within the outer lips, in dB."""
    lips = drawn_polygon(target[:, list(MOUTH_OUTER), :2], *drawn.shape[-2:])
    error = ((drawn - wanted).square() * lips).sum(dim=(1, 2, 3)) / (3 * lips.sum(dim=(1, 2, 3))).clamp_min(1)
    return float((-10 * error.clamp_min(1e-10).log10()).mean())
