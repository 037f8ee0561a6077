"""Other voices and other faces with the same timing; drawn once a clip, then constant over it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


@dataclass(frozen=True, kw_only=True)
class VoiceAugment:
    """How far a voice may be changed, on its log-mel: all of it keeps every mel frame in its place."""

    warp: float = 0.15
    """Vocal-tract length: the mel axis is stretched by up to this share."""
    tilt_db: float = 10.0
    """Spectral tilt from the lowest to the highest bin."""
    gain_db: float = 10.0
    noise_db: tuple[float, float] = (-75.0, -35.0)
    """Level of a steady noise with a random tilt of its own, in mel power dB."""
    band_limit: float = 0.15
    """Probability that everything above a random bin in the upper half is lost, as on a telephone."""
    probability: float = 0.9
    """Share of clips that are changed at all."""


def voices(mel: Tensor, rng: np.random.Generator, config: VoiceAugment, floor_db: float) -> Tensor:
    """Log-mel [b m f] in dB of other voices saying the same at the same times."""
    batch, _, bins = mel.shape
    changed = torch.from_numpy(rng.random(batch) < config.probability).to(mel.device)[:, None, None]

    def drawn(low: float, high: float) -> Tensor:
        values = rng.uniform(low, high, size=(batch, 1, 1)).astype(np.float32)
        return torch.from_numpy(values).to(mel.device)

    axis = torch.linspace(-1, 1, bins, device=mel.device)
    warped = _stretched(mel, torch.exp(drawn(-1, 1) * math.log1p(config.warp)))
    other = warped + config.tilt_db / 2 * drawn(-1, 1) * axis + config.gain_db * drawn(-1, 1)
    noise = drawn(*config.noise_db) + config.tilt_db * drawn(-1, 1) * axis
    other = 10 * torch.log10(10 ** (other / 10) + 10 ** (noise / 10))
    cut = torch.where(drawn(0, 1) < config.band_limit, drawn(0, 1), torch.full_like(noise[..., :1], 2.0))
    other = torch.where(axis > cut, noise - 20, other).clamp_min(floor_db)
    return torch.where(changed, other, mel)


def _stretched(mel: Tensor, factor: Tensor) -> Tensor:
    """The mel axis read at `factor` [b 1 1] times each bin; beyond the top bin the top bin goes on."""
    bins = mel.shape[-1]
    place = (torch.arange(bins, device=mel.device) * factor[:, 0]).clamp(0, bins - 1)  # [b f]
    low = place.floor().long().clamp(max=bins - 2)
    share = (place - low)[:, None]
    index = low[:, None].expand(-1, mel.shape[1], -1)
    return torch.lerp(mel.gather(2, index), mel.gather(2, index + 1), share)


@dataclass(frozen=True, kw_only=True)
class FaceAugment:
    """How far a face may be changed; all frames of a clip alike."""

    turn_deg: float = 6.0
    scale: float = 0.08
    aspect: float = 0.08
    shift: float = 0.04
    """In halves of the picture's side."""
    gain: float = 0.25
    colour: float = 0.08
    """Gain of single channels."""
    gamma: float = 0.3
    flip: bool = True


def faces(crops: Tensor, rng: np.random.Generator, config: FaceAugment) -> Tensor:
    """Pictures [b t 3 h w] in 0..1 of other faces in other light with the same motion."""
    batch, _, _, height, width = crops.shape

    def drawn(reach: float, *shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(-reach, reach, size=(batch, *shape)).astype(np.float32)).to(crops.device)

    angle, scale = drawn(math.radians(config.turn_deg)), torch.exp(drawn(config.scale))
    aspect = torch.exp(drawn(config.aspect) / 2)
    mirror = torch.sign(drawn(1.0)) if config.flip else torch.ones(batch, device=crops.device)
    ratio = height / width  # grid coordinates are shares of each side; a turn must not shear
    cos, sin, shift = angle.cos() * scale, angle.sin() * scale, drawn(config.shift, 2)
    rows = [
        torch.stack([cos * aspect * mirror, -sin * ratio * aspect, shift[:, 0]], dim=1),
        torch.stack([sin / ratio / aspect * mirror, cos / aspect, shift[:, 1]], dim=1),
    ]
    grid = affine_grid(torch.stack(rows, dim=1), [batch, 1, height, width], align_corners=False)
    moved = grid_sample(crops.flatten(1, 2), grid, padding_mode="border", align_corners=False).view_as(crops)
    light = (1 + drawn(config.gain, 1, 1, 1, 1)) * (1 + drawn(config.colour, 1, 3, 1, 1))
    gamma = torch.exp(drawn(config.gamma, 1, 1, 1, 1))
    return (moved.clamp(1e-4, 1) ** gamma * light).clamp(0, 1)
