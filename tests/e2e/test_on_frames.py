"""Arrays in, arrays out: the same mouths as in a video, and all other pixels as given."""

from pathlib import Path

import numpy as np
import pytest

from cals import LipSync, MediaError, NoFaceError
from cals.media.reader import VideoReader
from cals.types import U8

ROOT = Path(__file__).parents[2]
RATE_HZ = 22_050


@pytest.fixture(scope="module")
def frames() -> U8:
    """A face that drifts, hidden in frames 20 and 21."""
    with VideoReader(ROOT / "examples" / "astronaut.jpg") as photo:
        picture = next(photo).rgb()[:321, :401]
    pictures = np.stack([np.roll(picture, i // 4, axis=1) for i in range(32)])
    pictures[20:22] = 90
    return pictures


def test_mouths_change_and_all_else_stays(lips: LipSync, frames: U8) -> None:
    speech = np.random.default_rng(0).normal(0, 0.1, (2, 2 * RATE_HZ)).astype(np.float32)
    result = list(lips.on_frames(frames, np.arange(32, dtype=np.float32) / 25 + 0.2, speech, RATE_HZ))
    assert len(result) == len(frames)
    assert all(one.shape == frames.shape[1:] and one.dtype == np.uint8 for one in result)
    change = np.abs(np.stack(result).astype(int) - frames).max(axis=-1)
    assert not change[:, :, 300:].any()
    assert not change[20:22].any()
    assert change[8, 135:175, 205:245].mean() > 5  # a random mouth is no mouth


def test_what_cannot_be_used_says_why(lips: LipSync, frames: U8) -> None:
    speech, times_s = np.zeros(RATE_HZ, np.float32), [0.0, 0.04]
    with pytest.raises(MediaError, match=r"RGB pictures \[h w 3\] of one size"):
        next(lips.on_frames([frames[0], frames[0][1:]], times_s, speech, RATE_HZ))
    with pytest.raises(MediaError, match="2 rising times in seconds"):
        next(lips.on_frames(frames[:2], [0.0, 0.0], speech, RATE_HZ))
    with pytest.raises(MediaError, match="samples: expected sound"):
        next(lips.on_frames(frames[:2], times_s, speech[:0], RATE_HZ))
    with pytest.raises(NoFaceError, match="frames: expected a face"):
        list(lips.on_frames(frames[20:22], times_s, speech, RATE_HZ))
