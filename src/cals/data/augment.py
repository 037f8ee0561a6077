"""Other voices and other faces with the same timing; drawn once a clip, then constant over it."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cals.data.pictures import Repaint, light_table, planes, reading_map, repainted
from cals.types import U8


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
    codec: float = 0.1
    """Probability of a lossy codec: bins far under the loudest of their frame are lost, levels are rounded."""
    codec_db: tuple[float, float] = (25.0, 50.0)
    """How far under it they are lost."""
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
    other = torch.where(axis > cut, noise - 20, other)
    coded, depth, step = drawn(0, 1) < config.codec, drawn(*config.codec_db), drawn(0.5, 3)
    kept = torch.where(other < other.amax(dim=2, keepdim=True) - depth, floor_db, (other / step).round() * step)
    other = torch.where(coded, kept, other).clamp_min(floor_db)
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
    """How far a face and its picture may be changed; all frames of a clip alike."""

    turn_deg: float = 6.0
    scale: float = 0.08
    aspect: float = 0.08
    shift: float = 0.04
    """In halves of the picture's side."""
    bumps: float = 0.01
    """Smooth warp: deviation of its knots, in widths of the picture."""
    gain: float = 0.25
    colour: float = 0.08
    """Gain of single channels."""
    gamma: float = 0.3
    flip: bool = True
    blur: float = 0.25
    """Probability of a blur."""
    blur_px: float = 1.5
    noise: float = 0.25
    """Probability of sensor noise, drawn anew in every frame."""
    noise_std: float = 0.03
    """In shares of white."""
    jpeg: float = 0.2
    """Probability of compression."""
    jpeg_quality: tuple[int, int] = (20, 90)


def faces(crops: Tensor, rng: np.random.Generator, config: FaceAugment) -> Tensor:
    """Pictures [b t 3 h w], uint8 or in 0..1, as other faces in other light with the same motion, in 0..1.

    Worked on as uint8 on the CPU, clips side by side in as many threads as torch has: give it uint8, most cheaply
    a view of [b t h w 3].
    """
    eight_bit = crops if crops.dtype == torch.uint8 else crops.mul(255).add_(0.5).byte()
    clips = eight_bit.permute(0, 1, 3, 4, 2).cpu().contiguous().numpy()
    # every clip has its own random numbers, so that threads cannot change them
    streams = rng.spawn(len(clips))

    def changed(clip: U8, own: np.random.Generator) -> U8:
        return planes(repainted(clip, drawn_look(own, config, *clip.shape[1:3]), own))

    with ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads())) as pool:
        found = torch.from_numpy(np.stack(list(pool.map(changed, clips, streams))))
    return found.to(crops.device).float().div_(255)


def drawn_look(rng: np.random.Generator, config: FaceAugment, height: int, width: int) -> Repaint:
    """Another face and camera within `config`, for pictures of that size."""

    def drawn(reach: float, *shape: int) -> Any:
        return rng.uniform(-reach, reach, size=shape)

    angle, scale = drawn(math.radians(config.turn_deg)), math.exp(drawn(config.scale))
    aspect = math.exp(drawn(config.aspect) / 2)
    mirror = -1.0 if rng.random() < 0.5 and config.flip else 1.0
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    shift = drawn(config.shift, 2) * (width / 2, height / 2)
    matrix = np.array(
        [[cos * aspect * mirror, -sin * aspect, shift[0]], [sin / aspect * mirror, cos / aspect, shift[1]]]
    )
    knots = (max(2, round(5 * height / width)), 5, 2)  # as far apart up and down as sideways
    columns, rows = reading_map(height, width, matrix, rng.normal(0, config.bumps * width, knots))
    gain = (1 + drawn(config.gain)) * (1 + drawn(config.colour, 3))
    light = light_table(gain, math.exp(drawn(config.gamma)))
    blurs, noises, coded = rng.random(3) < (config.blur, config.noise, config.jpeg)
    blur_px, noise = rng.uniform(0.3, config.blur_px), 255 * rng.uniform(0, config.noise_std)
    quality = int(rng.integers(*config.jpeg_quality, endpoint=True))
    return Repaint(
        columns=columns,
        rows=rows,
        light=light,
        blur_px=blur_px if blurs else 0.0,
        noise=noise if noises else 0.0,
        jpeg=quality if coded else 100,
    )
