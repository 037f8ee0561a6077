"""Speakers: voice, proportions, appearance, and head motion; all sampled from seeds."""

from dataclasses import dataclass

import numpy as np

from cals.data.synthetic.geometry import HeadTrack, Shape
from cals.data.synthetic.grammar import F64
from cals.data.synthetic.sound import Voice

Colour = tuple[float, float, float]
FRAME_PX = 288
_SKINS: tuple[Colour, ...] = ((248, 218, 200), (238, 194, 166), (214, 164, 130), (168, 118, 88), (112, 76, 58))
_HAIRS: tuple[Colour, ...] = ((28, 22, 20), (62, 42, 30), (110, 74, 44), (178, 140, 84), (150, 148, 146), (120, 52, 28))
_IRISES: tuple[Colour, ...] = ((70, 44, 26), (96, 72, 40), (70, 104, 128), (84, 110, 76))


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """Colours (RGB, 0..255) and features of a person's appearance."""

    skin: Colour
    lips: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    long_hair: bool
    stubble: float
    brows: float
    """Thickness, about 1."""
    freckles: int
    """Seed of the skin's pattern."""


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """One person."""

    name: str
    voice: Voice
    shape: Shape
    appearance: Appearance


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Light and background, which differ between the clips of one person."""

    light: tuple[float, float, float]
    """Unit vector towards the light; x right, y down, z away from the camera."""
    ambient: float
    warmth: float
    ground: tuple[Colour, Colour]
    """Background at the top and at the bottom."""
    seed: int


def sample_speaker(number: int, seed: int) -> Speaker:
    """Sample the person of that number."""
    rng = np.random.default_rng([seed, 1, number])
    position = rng.uniform(0, len(_SKINS) - 1)
    low = int(min(position, len(_SKINS) - 2))
    skin = np.array(_SKINS[low]) * (1 - position + low) + np.array(_SKINS[low + 1]) * (position - low)
    lips = skin * (0.80, 0.58, 0.60) + rng.uniform(-8, 8, 3)
    has_deep_voice = rng.random() < 0.5
    look = Appearance(
        skin=_clip_colour(skin),
        lips=_clip_colour(lips),
        hair=_HAIRS[int(rng.integers(len(_HAIRS)))],
        iris=_IRISES[int(rng.integers(len(_IRISES)))],
        shirt=_clip_colour(rng.uniform(30, 200, 3)),
        long_hair=not has_deep_voice,
        stubble=float(rng.uniform(0, 0.25)) if has_deep_voice else 0.0,
        brows=float(rng.uniform(0.8, 1.5) if has_deep_voice else rng.uniform(0.5, 0.9)),
        freckles=int(rng.integers(1 << 30)),
    )
    traits = np.clip(rng.normal(0, 0.6, 6), -1, 1).tolist()
    shape = Shape(
        wide=traits[0], long=traits[1], jaw=traits[2], lips=traits[3], nose=traits[4], eyes=traits[5],
        mouth=float(rng.uniform(0.85, 1.15)),
    )  # fmt: skip
    voice = Voice(
        pitch_hz=float(rng.uniform(85, 140) if has_deep_voice else rng.uniform(160, 250)),
        tract=float(rng.uniform(0.99, 1.07) if has_deep_voice else rng.uniform(0.92, 0.99)),
        tempo=float(rng.uniform(0.92, 1.08)),
        breath_db=float(rng.uniform(-36, -24)),
    )
    return Speaker(name=f"p{number:02d}", voice=voice, shape=shape, appearance=look)


def sample_scene(rng: np.random.Generator) -> Scene:
    """Sample light and background of one clip."""
    light = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.8, -0.1), -1.0])
    light /= np.linalg.norm(light)
    top, bottom = (rng.uniform(50, 200) + rng.uniform(-40, 40, 3) for _ in range(2))
    return Scene(
        light=(float(light[0]), float(light[1]), float(light[2])),
        ambient=float(rng.uniform(0.5, 0.72)),
        warmth=float(rng.uniform(-0.06, 0.06)),
        ground=(_clip_colour(top), _clip_colour(0.6 * top + 0.4 * bottom)),
        seed=int(rng.integers(1 << 30)),
    )


def sample_head_motion(frames: int, rng: np.random.Generator, fps: int = 25) -> HeadTrack:
    """Sample a head that drifts and blinks: sums of slow sines that are independent of the speech."""
    zoom = rng.uniform(1.15, 1.4)
    turn = np.stack([_sample_drift(frames, rng, fps) for _ in range(3)], axis=1) * np.radians([3.0, 6.0, 3.0])
    turn += np.radians(rng.normal(0, 1, 3) * (2.0, 4.0, 2.0))
    place = np.stack([_sample_drift(frames, rng, fps), _sample_drift(frames, rng, fps)], axis=1) * 4.0
    place += [FRAME_PX / 2 + rng.uniform(-12, 12), 0.40 * FRAME_PX + rng.uniform(-8, 8)]
    return HeadTrack(
        turn, zoom * (1 + 0.015 * _sample_drift(frames, rng, fps)), place, _sample_blinks(frames, rng, fps)
    )


def _sample_drift(frames: int, rng: np.random.Generator, fps: int) -> F64:
    time_s = np.arange(frames) / fps
    rates_hz, phases = rng.uniform(0.08, 0.6, 4), rng.uniform(0, 2 * np.pi, 4)
    swings = np.sin(2 * np.pi * rates_hz[:, None] * time_s + phases[:, None]) / (1 + 3 * rates_hz[:, None])
    return np.asarray(swings.sum(axis=0) * 0.8)


def _sample_blinks(frames: int, rng: np.random.Generator, fps: int) -> F64:
    lids = np.zeros(frames)
    at_s = rng.uniform(0.3, 3.0)
    while at_s < frames / fps:
        away = np.abs(np.arange(frames) / fps - at_s)
        lids = np.maximum(lids, np.clip(1.25 - away / 0.1, 0, 1))
        at_s += rng.uniform(1.8, 5.0)
    return 0.92 * lids


def _clip_colour(values: F64) -> Colour:
    red, green, blue = np.clip(values, 0, 255).tolist()
    return red, green, blue
