"""Voice and face augmentation that keeps the timing; sampled once a clip, then constant over it."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cals.data.pictures import (
    AppearanceTransform,
    apply_appearance,
    build_lookup_table,
    build_remap,
    transpose_channels,
)
from cals.types import U8


@dataclass(frozen=True, kw_only=True)
class VoiceAugment:
    """Ranges of the voice change on the log-mel; every mel frame keeps its place."""

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
    """Probability of a lossy codec: bins far below the loudest of their frame are lost, levels are rounded."""
    codec_db: tuple[float, float] = (25.0, 50.0)
    """How far below the loudest bin they are lost."""
    probability: float = 0.9
    """Share of clips that are changed at all."""


def augment_voices(mel: Tensor, rng: np.random.Generator, config: VoiceAugment, floor_db: float) -> Tensor:
    """Convert log-mels [b m f] in dB to other voices that say the same at the same times."""
    batch, _, bins = mel.shape
    is_changed = torch.from_numpy(rng.random(batch) < config.probability).to(mel.device)[:, None, None]

    def sample(low: float, high: float) -> Tensor:
        values = rng.uniform(low, high, size=(batch, 1, 1)).astype(np.float32)
        return torch.from_numpy(values).to(mel.device)

    axis = torch.linspace(-1, 1, bins, device=mel.device)
    warped = _warp_bins(mel, torch.exp(sample(-1, 1) * math.log1p(config.warp)))
    out = warped + config.tilt_db / 2 * sample(-1, 1) * axis + config.gain_db * sample(-1, 1)
    noise = sample(*config.noise_db) + config.tilt_db * sample(-1, 1) * axis
    out = 10 * torch.log10(10 ** (out / 10) + 10 ** (noise / 10))
    cutoff = torch.where(sample(0, 1) < config.band_limit, sample(0, 1), torch.full_like(noise[..., :1], 2.0))
    out = torch.where(axis > cutoff, noise - 20, out)
    has_codec, depth, step = sample(0, 1) < config.codec, sample(*config.codec_db), sample(0.5, 3)
    quantized = torch.where(out < out.amax(dim=2, keepdim=True) - depth, floor_db, (out / step).round() * step)
    out = torch.where(has_codec, quantized, out).clamp_min(floor_db)
    return torch.where(is_changed, out, mel)


def _warp_bins(mel: Tensor, factor: Tensor) -> Tensor:
    """Read the mel axis at `factor` [b 1 1] times each bin; beyond the top bin it is constant."""
    bins = mel.shape[-1]
    position = (torch.arange(bins, device=mel.device) * factor[:, 0]).clamp(0, bins - 1)  # [b f]
    low = position.floor().long().clamp(max=bins - 2)
    share = (position - low)[:, None]
    index = low[:, None].expand(-1, mel.shape[1], -1)
    return torch.lerp(mel.gather(2, index), mel.gather(2, index + 1), share)


@dataclass(frozen=True, kw_only=True)
class FaceAugment:
    """Ranges of the change of face and picture; all frames of a clip change alike."""

    turn_deg: float = 6.0
    scale: float = 0.08
    aspect: float = 0.08
    shift: float = 0.04
    """In halves of the picture's side."""
    bumps: float = 0.01
    """Smooth warp: standard deviation of its knots, in widths of the picture."""
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


def augment_faces(crops: Tensor, rng: np.random.Generator, config: FaceAugment) -> Tensor:
    """Augment pictures [b t 3 h w], uint8 or in 0..1, to other faces in other light with the same motion, in 0..1.

    Works on uint8 on the CPU, one clip per task, in as many threads as torch has. Give it uint8, most cheaply as a view
    of [b t h w 3].
    """
    pixels = crops if crops.dtype == torch.uint8 else crops.mul(255).add_(0.5).byte()
    clips = pixels.permute(0, 1, 3, 4, 2).cpu().contiguous().numpy()
    # every clip has its own random numbers, so that threads cannot change them
    clip_rngs = rng.spawn(len(clips))

    def augment_clip(clip: U8, clip_rng: np.random.Generator) -> U8:
        return transpose_channels(
            apply_appearance(clip, sample_appearance(clip_rng, config, *clip.shape[1:3]), clip_rng)
        )

    with ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads())) as pool:
        augmented = torch.from_numpy(np.stack(list(pool.map(augment_clip, clips, clip_rngs))))
    return augmented.to(crops.device).float().div_(255)


def sample_appearance(rng: np.random.Generator, config: FaceAugment, height: int, width: int) -> AppearanceTransform:
    """Sample another face and camera within `config`, for pictures of that size."""

    def sample(reach: float, *shape: int) -> Any:
        return rng.uniform(-reach, reach, size=shape)

    angle, scale = sample(math.radians(config.turn_deg)), math.exp(sample(config.scale))
    aspect = math.exp(sample(config.aspect) / 2)
    mirror = -1.0 if rng.random() < 0.5 and config.flip else 1.0
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    shift = sample(config.shift, 2) * (width / 2, height / 2)
    matrix = np.array(
        [[cos * aspect * mirror, -sin * aspect, shift[0]], [sin / aspect * mirror, cos / aspect, shift[1]]]
    )
    knots = (max(2, round(5 * height / width)), 5, 2)  # as far apart up and down as sideways
    columns, rows = build_remap(height, width, matrix, rng.normal(0, config.bumps * width, knots))
    gain = (1 + sample(config.gain)) * (1 + sample(config.colour, 3))
    light = build_lookup_table(gain, math.exp(sample(config.gamma)))
    has_blur, has_noise, has_jpeg = rng.random(3) < (config.blur, config.noise, config.jpeg)
    blur_px, noise = rng.uniform(0.3, config.blur_px), 255 * rng.uniform(0, config.noise_std)
    quality = int(rng.integers(*config.jpeg_quality, endpoint=True))
    return AppearanceTransform(
        map_x=columns,
        map_y=rows,
        lookup_table=light,
        blur_px=blur_px if has_blur else 0.0,
        noise=noise if has_noise else 0.0,
        jpeg=quality if has_jpeg else 100,
    )
