"""Two frames of one clip, the one to be drawn from the other: what the mesh decoder's refinement learns from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cals.data.store import ClipStore, LoadedClip
from cals.data.windows import OWN_FRAMES
from cals.models.mesh import FaceMesh, lip_gap
from cals.models.mesh_decoder import Views
from cals.nn.warp import pixel_centres, sampled

OPEN_FRAMES = 10
"""So many of a clip's most open frames may serve as bank."""


@dataclass(frozen=True, kw_only=True)
class LookAugment:
    """How far a face and its light may be changed, all three pictures of a pair alike."""

    gain: float = 0.25
    colour: float = 0.3
    """Gain of single channels."""
    swap: float = 0.3
    """Probability of channels that change places: colours that no face has, but also none to be learnt by heart."""
    gamma: float = 0.3
    stretch: float = 0.2
    """Height and width, each for itself."""


class Look(NamedTuple):
    """One drawn change."""

    channels: tuple[int, ...] = (0, 1, 2)
    gains: tuple[float, ...] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    stretch: tuple[float, ...] = (1.0, 1.0)

    @classmethod
    def drawn(cls, rng: np.random.Generator, config: LookAugment) -> "Look":
        """Each factor as likely below 1 as above."""
        gain = rng.uniform(-config.gain, config.gain) + rng.uniform(-config.colour, config.colour, 3)
        gamma = rng.uniform(-config.gamma, config.gamma)
        stretch = rng.uniform(-config.stretch, config.stretch, 2)
        channels = rng.permutation(3).tolist() if rng.random() < config.swap else [0, 1, 2]
        return cls(tuple(channels), tuple(np.exp(gain).tolist()), float(np.exp(gamma)), tuple(np.exp(stretch).tolist()))


@dataclass(frozen=True, eq=False)
class Geometry:
    """One clip's meshes."""

    landmarks: Tensor = field(repr=False)
    rest: Tensor = field(repr=False)
    motion: Tensor = field(repr=False)
    """[t k], frame by frame."""
    heard: Tensor = field(repr=False)
    """The same in time with the sound."""
    gaps: Tensor = field(repr=False)


def geometry_of(mesh: FaceMesh, store: ClipStore, offsets: Sequence[float] | None = None) -> list[Geometry]:
    """Geometry of all clips, without decoding their pictures; `offsets` in frames say how late their sound is."""
    found = []
    for i in range(len(store)):
        landmarks = torch.from_numpy(store.landmarks(i))
        rest = mesh.resting(landmarks)
        motion = mesh.motion(landmarks, rest)
        heard = motion if offsets is None else _delayed(motion, offsets[i])
        found.append(Geometry(landmarks, rest, motion, heard, lip_gap(landmarks)))
    return found


def _delayed(motion: Tensor, frames: float) -> Tensor:
    """A curve [t k] as it would be `frames` later; linear in between, the ends go on."""
    places = (torch.arange(len(motion)) - frames).clamp(0, len(motion) - 1)
    below = places.floor().long().clamp(max=len(motion) - 2)
    return torch.lerp(motion[below], motion[below + 1], (places - below)[:, None])


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """Numbers of frames of one clip."""

    source: int
    target: int
    bank: int
    clip: LoadedClip
    face: Geometry
    look: Look


def drawn_pair(
    clip: LoadedClip,
    face: Geometry,
    rng: np.random.Generator,
    no_bank: float = 0.0,
    look: LookAugment | None = None,
) -> Pair:
    """Source and bank far enough from the target not to show its mouth; a closed bank in a share `no_bank` of cases."""
    target = int(rng.integers(clip.frames))
    frames = np.arange(clip.frames)
    away = frames[np.abs(frames - target) >= OWN_FRAMES]
    away = away if len(away) else frames
    source, closed = int(rng.choice(away)), rng.random() < no_bank
    bank = int(away[face.gaps[away].argmin()]) if closed else open_frame(face, target, rng)
    changed = Look() if look is None else Look.drawn(rng, look)
    return Pair(source=source, target=target, bank=bank, clip=clip, face=face, look=changed)


def open_frame(face: Geometry, target: int, rng: np.random.Generator) -> int:
    """One of the most open frames that are not the target's own."""
    gaps = face.gaps.clone()
    gaps[max(0, target - OWN_FRAMES + 1) : target + OWN_FRAMES] = -1
    best = gaps.topk(min(len(gaps), OPEN_FRAMES)).indices
    return int(best[int(rng.integers(len(best)))])


def batched(pairs: list[Pair], device: torch.device, whole: bool = True) -> tuple[Views, Tensor, Tensor, Tensor]:
    """Views, target landmarks, target motion and real target crops; `whole` says that poses differ."""
    gains = torch.tensor([pair.look.gains for pair in pairs], device=device)[..., None, None]
    gamma = torch.tensor([pair.look.gamma for pair in pairs], device=device)[:, None, None, None]
    stretch = torch.tensor([pair.look.stretch for pair in pairs], device=device)

    def crops(which: str) -> Tensor:
        pixels = torch.from_numpy(np.stack([pair.clip.crops[getattr(pair, which)] for pair in pairs])).to(device)
        pixels = torch.stack([crop[..., list(pair.look.channels)] for crop, pair in zip(pixels, pairs, strict=True)])
        lit = (gains * (pixels.permute(0, 3, 1, 2).float() / 255).clamp_min(1e-4) ** gamma).clamp(0, 1)
        height, width = lit.shape[-2:]
        middle = torch.tensor([width / 2, height / 2], device=device)
        places = (pixel_centres(height, width, device) - middle) / stretch[:, None, None] + middle
        return sampled(lit, places)

    def meshes(which: str) -> Tensor:
        points = torch.stack([pair.face.landmarks[getattr(pair, which)] for pair in pairs]).to(device)
        middle = pairs[0].clip.crops.shape[1] / 2
        flat = (points[..., :2] - middle) * stretch[:, None] + middle
        return torch.cat([flat, points[..., 2:]], dim=-1)

    def motion(which: str) -> Tensor:
        return torch.stack([pair.face.motion[getattr(pair, which)] for pair in pairs]).to(device)

    views = Views(
        crops=crops("source"),
        landmarks=meshes("source"),
        motion=motion("source"),
        bank_crops=crops("bank"),
        bank_landmarks=meshes("bank"),
        whole=whole,
    )
    return views, meshes("target"), motion("target"), crops("target")
