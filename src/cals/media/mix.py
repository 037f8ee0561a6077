"""Sound of a dub: the original, lowered where others speak, and their voices."""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from cals.errors import ConfigError
from cals.media.blocks import BlockReader, SoundStream
from cals.media.channels import build_channel_matrix, get_channel_names
from cals.media.filters import limit_peaks
from cals.media.placement import Placement, place_voice
from cals.media.sound import AudioSource
from cals.types import F32

RAMP_S = Fraction(3, 200)
"""Length of the ramp between both levels of the original, inside of the interval in which it is lowered."""
_BLOCK = 1 << 14


@dataclass(frozen=True, kw_only=True)
class PlacedVoice:
    """A voice file and where it sounds."""

    audio: Path
    placement: Placement
    track: str | int | None = None
    """One of several, see `select_sound_track`."""


class MixedSound(BlockReader):
    """The original sound `bed`, lowered to `background_gain` in the intervals `lowered`, plus `voices`; a SoundStream.

    It has the rate and channels of the bed, without one the highest rate and the most channels of the voices. Outside
    of intervals and voices its samples are those of the bed; elsewhere levels are kept, and peaks beyond full scale
    are limited. It is as long as the bed, or longer where a voice or interval is. Voices are opened when they start,
    so memory does not grow with the length. Closes the bed.
    """

    def __init__(
        self,
        bed: SoundStream | None,
        voices: Sequence[PlacedVoice],
        *,
        lowered: Sequence[tuple[Fraction, Fraction]] = (),
        background_gain: float = 0.0,
        keep_going: bool = False,
    ) -> None:
        if not 0 <= background_gain <= 1:
            raise ConfigError(
                f"background_gain: expected 0 (silent) to 1 (as it is) for the original sound, found "
                f"{background_gain:g}; 0.1 leaves it faintly audible"
            )
        if bed is None and not voices:
            raise ConfigError("mix: expected the original sound or a voice, found neither; name one")
        self._bed, self._background_gain, self._keep_going = bed, background_gain, keep_going
        self.rate_hz, self.layout = _find_format(voices) if bed is None else (bed.rate_hz, bed.layout)
        self.channel_names = get_channel_names(self.layout)
        self._lowered = deque(_merge(self._to_samples(start_s, end_s) for start_s, end_s in lowered))
        self._waiting = deque(sorted(voices, key=lambda voice: voice.placement.start_s))
        places = [self._to_samples(voice.placement.start_s, voice.placement.end_s) for voice in voices]
        self._spans = _merge([*self._lowered, *places])
        super().__init__(self._mix(), len(self.channel_names))

    def _to_samples(self, start_s: Fraction, end_s: Fraction) -> tuple[int, int]:
        return round(start_s * self.rate_hz), round(end_s * self.rate_hz)

    def _mix(self) -> Generator[F32, None, None]:
        position = 0
        for start, end in self._spans:
            for first in range(position, start, _BLOCK):
                yield self._read_bed(min(_BLOCK, start - first))
            # A generator of its own, closed with this one.
            with closing(self._mix_span(start, end)) as blocks:
                yield from limit_peaks(blocks, self.layout, self.rate_hz)
            position = end
        if self._bed is not None:
            yield from self._bed.iterate_blocks()

    def _mix_span(self, start: int, end: int) -> Generator[F32, None, None]:
        """Yield the sum where the original is lowered or a voice sounds."""
        sounding: list[tuple[int, BlockReader]] = []
        try:
            for position in range(start, end, _BLOCK):
                count = min(_BLOCK, end - position)
                block = self._read_bed(count) * self._compute_gain(position, count)
                while self._waiting and self._get_start(self._waiting[0]) < position + count:
                    voice = self._waiting.popleft()
                    reader = BlockReader(self._read_voice(voice), len(self.channel_names))
                    sounding.append((self._get_start(voice), reader))
                for voice_start, reader in list(sounding):
                    offset = max(0, voice_start - position)
                    part = reader.read(count - offset)
                    block[:, offset : offset + part.shape[1]] += part
                    if part.shape[1] < count - offset:
                        reader.close()
                        sounding.remove((voice_start, reader))
                yield block
        finally:
            for _, reader in sounding:
                reader.close()

    def _get_start(self, voice: PlacedVoice) -> int:
        return round(voice.placement.start_s * self.rate_hz)

    def _read_bed(self, samples: int) -> F32:
        """Read the original, silence after its end."""
        block = np.zeros((len(self.channel_names), 0), np.float32) if self._bed is None else self._bed.read(samples)
        return np.pad(block, ((0, 0), (0, samples - block.shape[1])))

    def _compute_gain(self, position: int, count: int) -> F32:
        """Compute the gain [count] of the original."""
        while self._lowered and self._lowered[0][1] <= position:
            self._lowered.popleft()
        samples, share = np.arange(position, position + count), np.zeros(count)
        for start, end in self._lowered:
            if start >= position + count:
                break
            ramp = min(RAMP_S * self.rate_hz, Fraction(end - start, 2))
            np.maximum(share, np.minimum(samples - start, end - samples) / float(ramp), out=share)
        return (1 - (1 - self._background_gain) * np.minimum(share, 1)).astype(np.float32)

    def _read_voice(self, voice: PlacedVoice) -> Generator[F32, None, None]:
        with closing(AudioSource(voice.audio, track=voice.track, keep_going=self._keep_going, quiet=True)) as source:
            matrix = build_channel_matrix(source.channel_names, self.channel_names)
            for block in place_voice(source, voice.placement, self.rate_hz):
                yield matrix @ block

    def close(self) -> None:
        """Close all files."""
        super().close()
        if self._bed is not None:
            self._bed.close()


def _find_format(voices: Sequence[PlacedVoice]) -> tuple[int, str]:
    """Find the highest rate of the voices and the layout of the most channels."""
    rate_hz, channels, layout = 0, 0, ""
    for audio, track in dict.fromkeys((voice.audio, voice.track) for voice in voices):
        with closing(AudioSource(audio, track=track, quiet=True)) as source:
            rate_hz = max(rate_hz, source.rate_hz)
            if len(source.channel_names) > channels:
                channels, layout = len(source.channel_names), source.layout
    return rate_hz, layout


def _merge(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge intervals that overlap or touch, and drop empty ones."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        elif start < end:
            merged.append((start, end))
    return merged
