"""A video of a photo beside tones, and a search that is fast."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from cals.models.avsr.beam import BeamConfig
from cals.types import F32
from drawing import tones, write_video

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
QUICK = BeamConfig(beam=2, max_length_ratio=0.1)


def draw_clip(
    path: Path,
    *,
    rate: Fraction | int = 25,
    frames: int = 50,
    dark: range = range(0),
    sound_s: float | None = 2.0,
    level: Callable[[F32], F32] = lambda wav: wav,
) -> Path:
    """Write a video of a photo in a light that falls, without the face in `dark`, beside tones."""
    photo = cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)[:320, 64:384]
    photo = cv2.resize(photo, (192, 192), interpolation=cv2.INTER_AREA)
    pictures = [
        np.full_like(photo, 90) if i in dark else (photo * (1 - 0.3 * i / frames)).astype(np.uint8)
        for i in range(frames)
    ]
    wav = None if sound_s is None else level(tones(sound_s, 16_000))
    return write_video(
        path, frames=pictures, rate=rate, size=(192, 192), options={"crf": "14"}, sound=wav, sound_rate_hz=16_000
    )
