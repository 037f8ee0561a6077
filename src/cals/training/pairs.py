"""Two frames of one clip, the one to be drawn from the other: what the mesh decoder's refinement learns from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cals.data.store import ClipStore, LoadedClip
from cals.data.windows import OWN_FRAMES
from cals.errors import ConfigError
from cals.face.landmarks import MIRROR, MOUTH_INNER
from cals.models.mesh import FaceMesh, exact, lip_gap, similarity
from cals.models.mesh_decoder import Views
from cals.nn.warp import drawn_triangles, pixel_centres, sampled, source_places
from cals.types import U8

OPEN_FRAMES = 10
"""So many of a clip's most open frames may serve as bank."""


_COARSE = 2
"""A morph is known at every second pixel in height and width and linear in between."""


def mirrored(points: Tensor, width: float) -> Tensor:
    """Landmarks [... 468 3] of a picture `width` pixels wide as they lie in its mirror image."""
    flipped = points[..., list(MIRROR), :]
    return torch.cat([width - flipped[..., :1], flipped[..., 1:]], dim=-1)


@dataclass(frozen=True, kw_only=True)
class LookAugment:
    """How far a face and its light may be changed, all three pictures of a pair alike; all of it is ours."""

    gain: float = 0.25
    colour: float = 0.3
    """Gain of single channels."""
    swap: float = 0.3
    """Probability of channels that change places: colours that no face has, but also none to be learnt by heart."""
    gamma: float = 0.3
    stretch: float = 0.2
    """Height and width, each for itself."""
    flip: float = 0.5
    """Probability of a mirror image."""
    morph: float = 0.7
    """Probability of a face whose shape goes towards another speaker's."""
    share: tuple[float, float] = (-0.8, 1.2)
    """How far it goes: 0 stays, 1 is the other's whole shape, below 0 what sets the two apart grows."""

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 <= self.morph <= 1 and self.share[0] <= self.share[1]):
            raise ConfigError(f"look: expected probabilities flip and morph from 0 to 1 and a range, found {self}")


@dataclass(frozen=True, eq=False)
class People:
    """Everyone in a corpus, and the mesh that they are measured with."""

    mesh: FaceMesh
    rests: dict[str, list[Tensor]] = field(default_factory=dict, repr=False)
    """By speaker the face at rest [468 3] of each clip."""

    def other(self, speaker: str, rng: np.random.Generator) -> Tensor | None:
        """Someone else's face at rest [468 3], every speaker as likely; None where there is no one else."""
        others = [name for name in self.rests if name != speaker]
        if not others:
            return None
        rests = self.rests[others[int(rng.integers(len(others)))]]
        return rests[int(rng.integers(len(rests)))]


class Look(NamedTuple):
    """One drawn change."""

    channels: tuple[int, ...] = (0, 1, 2)
    gains: tuple[float, ...] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    stretch: tuple[float, ...] = (1.0, 1.0)
    flip: bool = False
    share: float = 0.0
    other: Tensor | None = None
    """The face at rest [468 3] of which the shape takes on `share`; not its mirror image."""

    @classmethod
    def drawn(cls, rng: np.random.Generator, config: LookAugment, people: People, speaker: str) -> "Look":
        """Each factor as likely below 1 as above."""
        gain = rng.uniform(-config.gain, config.gain) + rng.uniform(-config.colour, config.colour, 3)
        gamma = rng.uniform(-config.gamma, config.gamma)
        stretch = rng.uniform(-config.stretch, config.stretch, 2)
        channels = rng.permutation(3).tolist() if rng.random() < config.swap else [0, 1, 2]
        flip, share = bool(rng.random() < config.flip), float(rng.uniform(*config.share))
        other = people.other(speaker, rng) if rng.random() < config.morph else None
        return cls(
            channels=tuple(channels),
            gains=tuple(np.exp(gain).tolist()),
            gamma=float(np.exp(gamma)),
            stretch=tuple(np.exp(stretch).tolist()),
            flip=flip,
            share=share,
            other=other,
        )


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
    people: People
    """All whose clips were measured together."""


def geometry_of(mesh: FaceMesh, store: ClipStore, offsets: Sequence[float] | None = None) -> list[Geometry]:
    """Geometry of all clips, without decoding their pictures; `offsets` in frames say how late their sound is."""
    found, people = [], People(mesh)
    for i, speaker in enumerate(store.speakers):
        landmarks = torch.from_numpy(store.landmarks(i))
        rest = mesh.resting(landmarks)
        motion = mesh.motion(landmarks, rest)
        heard = motion if offsets is None else _delayed(motion, offsets[i])
        people.rests.setdefault(speaker, []).append(rest)
        found.append(Geometry(landmarks, rest, motion, heard, lip_gap(landmarks), people))
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
    changed = Look() if look is None else Look.drawn(rng, look, face.people, clip.speaker)
    return Pair(source=source, target=target, bank=bank, clip=clip, face=face, look=changed)


def open_frame(face: Geometry, target: int, rng: np.random.Generator) -> int:
    """One of the most open frames that are not the target's own."""
    gaps = face.gaps.clone()
    gaps[max(0, target - OWN_FRAMES + 1) : target + OWN_FRAMES] = -1
    best = gaps.topk(min(len(gaps), OPEN_FRAMES)).indices
    return int(best[int(rng.integers(len(best)))])


def batched(pairs: list[Pair], device: torch.device, whole: bool = True) -> tuple[Views, Tensor, Tensor, Tensor]:
    """Views, target landmarks, target motion and real target crops; `whole` says that poses differ."""
    crops, landmarks, motion = _shown(pairs, [pair.source for pair in pairs], device)
    bank_crops, bank_landmarks, _ = _shown(pairs, [pair.bank for pair in pairs], device)
    wanted, target, said = _shown(pairs, [pair.target for pair in pairs], device)
    views = Views(
        crops=crops,
        landmarks=landmarks,
        motion=motion,
        bank_crops=bank_crops,
        bank_landmarks=bank_landmarks,
        whole=whole,
    )
    return views, target, said, wanted


def _shown(pairs: list[Pair], frames: list[int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """One frame of each pair as its look shows it: crop [b 3 h w], landmarks [b 468 3] and motion [b k]."""
    looks = [pair.look for pair in pairs]
    gains = torch.tensor([look.gains for look in looks], device=device)[..., None, None]
    gamma = torch.tensor([look.gamma for look in looks], device=device)[:, None, None, None]
    stretch = torch.tensor([look.stretch for look in looks], device=device)
    pixels = torch.from_numpy(np.stack([_coloured(pair, t) for pair, t in zip(pairs, frames, strict=True)])).to(device)
    lit = (gains * (pixels.permute(0, 3, 1, 2).float() / 255).clamp_min(1e-4) ** gamma).clamp(0, 1)
    height, width = lit.shape[-2:]
    middle = torch.tensor([width / 2, height / 2], device=device)
    before, after, motion = (part.to(device) for part in _shapes(pairs, frames, width))
    places = (pixel_centres(height, width, device) - middle) / stretch[:, None, None] + middle
    morphed = [i for i, look in enumerate(looks) if look.other is not None]
    if morphed:
        mesh = pairs[0].face.people.mesh
        moved = stretch[morphed, None], middle
        places[morphed] += _morph(mesh, before[morphed], after[morphed], *moved, height, width)
    flat = (after[..., :2] - middle) * stretch[:, None] + middle
    return sampled(lit, places), torch.cat([flat, after[..., 2:]], dim=-1), motion


def _coloured(pair: Pair, frame: int) -> U8:
    """A crop [h w 3] with its channels where the look has them, mirrored if it says so."""
    crop = pair.clip.crops[frame][..., list(pair.look.channels)]
    return crop[:, ::-1] if pair.look.flip else crop


@exact
def _shapes(pairs: list[Pair], frames: list[int], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Landmarks [b 468 3] without their morph and with it, and motion [b k], of one frame of each pair.

    A changed face's motion is measured anew, against its own rest: what a tracker would make of its pictures.
    """
    mesh = pairs[0].face.people.mesh
    looks, faces = [pair.look for pair in pairs], [pair.face for pair in pairs]
    before = torch.stack([face.landmarks[t] for face, t in zip(faces, frames, strict=True)]).to(mesh.template)
    motion = torch.stack([face.motion[t] for face, t in zip(faces, frames, strict=True)]).to(mesh.template)
    changed = [i for i, look in enumerate(looks) if look.flip or look.other is not None]
    if not changed:
        return before, before, motion
    rest = torch.stack([face.rest for face in faces]).to(mesh.template)
    flipped = torch.tensor([look.flip for look in looks], device=before.device)[:, None, None]
    before = torch.where(flipped, mirrored(before, width), before)
    rest = torch.where(flipped, _mirrored_rest(mesh, rest), rest)
    others = [look.other for look in looks]
    wanted = torch.stack([own if other is None else other.to(own) for own, other in zip(rest, others, strict=True)])
    shape = torch.tensor([look.share for look in looks], device=before.device)[:, None, None] * (wanted - rest)
    scale, turn, _, _ = similarity(rest, before, mesh.upper)
    after = before + scale[:, None, None] * (shape @ turn)
    motion[changed] = mesh.motion(after[changed], (rest + shape)[changed])
    return before, after, motion


def _mirrored_rest(mesh: FaceMesh, rest: Tensor) -> Tensor:
    """Resting faces [b 468 3] of mirrored people, brought back into the template's pose."""
    other = mirrored(rest, 0)
    scale, turn, middle, own_middle = similarity(mesh.template.expand_as(other), other, mesh.upper)
    return (other - middle) @ turn.transpose(-1, -2) / scale[:, None, None] + own_middle


@exact
def _morph(
    mesh: FaceMesh, before: Tensor, after: Tensor, stretch: Tensor, middle: Tensor, height: int, width: int
) -> Tensor:
    """How far from its place each pixel of a stretched picture is read for a morph of landmarks [b 468 3]: [b h w 2].

    All that lies outside the ring around the face stays. The open mouth is carried along by triangles of its own,
    drawn under the others so that nothing of it covers lips that are closed.
    """
    triangles = torch.cat([_MOUTH.to(mesh.triangles), mesh.triangles]).to(before.device)
    origin = mesh.vertices(before, before)
    goal = (mesh.vertices(after, before) - middle) * stretch + middle
    rows, columns = -(-height // _COARSE), -(-width // _COARSE)
    covering = drawn_triangles(goal / _COARSE, triangles, rows, columns)
    places = _COARSE * source_places(goal / _COARSE, origin / _COARSE, triangles, covering)
    still = (_COARSE * pixel_centres(rows, columns, before.device) - middle) / stretch[:, None] + middle
    away = torch.where((covering >= 0)[..., None], places - still, 0.0)  # without a triangle nothing moves
    size = (_COARSE * rows, _COARSE * columns)
    fine = interpolate(away.permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False)
    return fine[..., :height, :width].permute(0, 2, 3, 1)


def _mouth_triangles() -> Tensor:
    """Triangles [18 3] between the inner lips."""
    top, bottom = MOUTH_INNER[:11], (MOUTH_INNER[0], *MOUTH_INNER[:9:-1])
    strip = [
        corners
        for i in range(10)
        for corners in ((top[i], top[i + 1], bottom[i + 1]), (top[i], bottom[i + 1], bottom[i]))
        if len(set(corners)) == 3  # at the corners of the mouth both lips share a point
    ]
    return torch.tensor(strip)


_MOUTH = _mouth_triangles()
