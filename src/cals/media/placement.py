"""Placement of a voice in a video: where it starts and ends, and how a long one is made to fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from cals.media.blocks import SoundStream
from cals.media.filters import change_tempo, resample_blocks
from cals.options import FitPolicy, check_fit
from cals.types import F32

MAX_TEMPO = Fraction(3, 2)
"""Faster speech is hard to understand and to lip-read."""
FADE_S = Fraction(1, 50)
"""Length of the fade at the end of a voice that is cut."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a voice sounds, in seconds after the first picture, and how it is changed."""

    start_s: Fraction
    end_s: Fraction
    voice_s: Fraction
    """Length of the voice as recorded."""
    tempo: Fraction = Fraction(1)
    """How many times as fast it is played."""

    @property
    def lost_s(self) -> Fraction:
        """Length of the voice's end that is not heard, as recorded; such a voice fades out."""
        return self.voice_s - (self.end_s - self.start_s) * self.tempo

    def count_samples(self, rate_hz: int) -> int:
        """Return its length in samples, from the one nearest to its start to the one nearest to its end."""
        return round(self.end_s * rate_hz) - round(self.start_s * rate_hz)


def plan_placement(
    voice_s: Fraction,
    start_s: Fraction,
    end_s: Fraction,
    policy: FitPolicy = "stretch",
    *,
    limit_s: Fraction | None = None,
    max_tempo: Fraction = MAX_TEMPO,
) -> Placement:
    """Plan where a voice of `voice_s` seconds sounds that belongs to `start_s` ... `end_s`.

    A shorter one stays as it is, at the start. A longer one with `stretch` is played faster, up to `max_tempo` times,
    and cut if that does not suffice; with `cut` it is cut at the end; with `spill` it goes on after the end, and is cut
    at `limit_s`, where the same person speaks again or the video ends.
    """
    check_fit(policy)
    ratio, tempo = voice_s / (end_s - start_s), Fraction(1)
    if policy == "spill":
        end_s = max(end_s, start_s + voice_s if limit_s is None else min(limit_s, start_s + voice_s))
    elif policy == "stretch":
        tempo = min(max(ratio, tempo), max_tempo)
    end_s = min(end_s, start_s + voice_s / tempo)
    return Placement(start_s=start_s, end_s=end_s, voice_s=voice_s, tempo=tempo)


def place_voice(source: SoundStream, placement: Placement, rate_hz: int) -> Iterator[F32]:
    """Yield the voice [channels n] as it is placed, at another rate, together as long as `count_samples` says.

    Its tempo is changed at its own rate and channels, so that its sounds have the same times at every `rate_hz`.
    """
    blocks = source.iterate_blocks()
    if placement.tempo != 1:
        blocks = change_tempo(blocks, source.layout, source.rate_hz, placement.tempo)
    if rate_hz != source.rate_hz:
        blocks = resample_blocks(blocks, source.layout, source.rate_hz, rate_hz)
    count, position = placement.count_samples(rate_hz), 0
    fade = min(round(FADE_S * rate_hz), count) if placement.lost_s > 0 else 0
    for whole in blocks:
        block = whole[:, : count - position]
        remaining = count - position - np.arange(block.shape[1])
        position += block.shape[1]
        yield block * np.minimum(remaining / fade, 1).astype(np.float32) if fade and len(remaining) else block
        if position == count:
            return
    yield np.zeros((len(source.channel_names), count - position), np.float32)
