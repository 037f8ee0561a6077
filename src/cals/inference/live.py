"""Speech that is still coming in: units from what was heard so far, and frames as soon as their sound is there."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.arrays import Array, copy_array, get_namespace
from cals.errors import ConfigError, MediaError
from cals.features.mel import iterate_log_mel
from cals.inference.windows import LookAhead, UnitSource
from cals.media.audio import resample
from cals.media.frame import Frame
from cals.models.network import LipNetwork
from cals.options import Latency
from cals.types import F32

Chunk = NDArray[Any]
"""Sound [n] or [channels n], float in -1..1 or int16."""
_MEL_S = Fraction(1, 100)
"""Sound after a unit that its mel needs, and that resampling holds back."""
_MAX_CHANNELS = 8
_HELD_S = 30
"""Mel held before the frame that is waited for: more than the frames of a batch and their context."""
ENDLESS_S = Fraction(10**9)
"""Length of sound whose end is not known."""


def to_mono(chunk: Chunk) -> F32:
    """Convert a chunk to mono samples [n] in -1..1; MediaError for other arrays, NaN and infinity."""
    sound = np.atleast_2d(chunk)
    # samples in rows, [n 1] or [n 2] as many libraries have them, would be taken for channels
    is_sound = sound.ndim == 2 and len(sound) <= _MAX_CHANNELS and not sound.shape[1] <= 2 < len(sound)
    if not is_sound or (sound.dtype != np.int16 and not np.issubdtype(sound.dtype, np.floating)):
        raise MediaError(
            f"chunk: expected sound [n] or [channels n], float or int16, found {sound.dtype} {list(np.shape(chunk))}; "
            "convert it"
        )
    mono: F32 = sound.mean(axis=0, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise MediaError("chunk: expected sound made of numbers, found NaN or infinity; leave such samples out")
    if sound.dtype == np.int16:
        mono /= np.float32(32768)
    return mono


class LiveSound:
    """Chunks of sound as mono blocks of 10 ms or more, taken one at a time, and how much of it has come."""

    def __init__(self, chunks: Iterable[Chunk], rate_hz: int) -> None:
        if rate_hz < 1 or rate_hz != int(rate_hz):
            raise ConfigError(f"stream: expected a whole rate in Hz, found {rate_hz}; give that of the chunks")
        rate_hz = int(rate_hz)  # some libraries state it as a float
        self.chunks, self.rate_hz = iter(chunks), rate_hz
        self.samples, self.has_ended = 0, False

    def __iter__(self) -> Iterator[F32]:
        pending: list[F32] = []
        first, block = 0, round(_MEL_S * self.rate_hz)  # resampling sample by sample would be slow
        for chunk in self.chunks:
            pending.append(to_mono(chunk))
            self.samples += len(pending[-1])
            if self.samples - first >= block:
                yield np.concatenate(pending)
                pending, first = [], self.samples
        self.has_ended = True
        if self.samples > first:
            yield np.concatenate(pending)

    @property
    def duration_s(self) -> Fraction:
        return Fraction(self.samples, self.rate_hz)


class LiveUnits(UnitSource):
    """Units of sound that is still coming in: each request runs the network on the latest window.

    The units nearest to its end are provisional: the next request computes them again with more sound after them.
    Endless silence follows the sound. Memory is that of the window and of the largest chunk.
    """

    def __init__(self, model: LipNetwork, chunks: Iterable[Chunk], rate_hz: int, latency: Latency) -> None:
        timing = model.mel.timing
        self._model, self.sound, self.latency = model, LiveSound(chunks, rate_hz), latency
        self._mels = iterate_log_mel(resample(self.sound, rate_hz, timing.sample_rate_hz), model.mel, model.convert)
        self._window = round(latency.window_s * timing.fps)
        self.look_ahead = LookAhead(sources=round(latency.look_ahead_s * timing.fps), gain=0)
        self._mel, self._mel_first = model.convert(np.zeros((0, model.mel.bins), np.float32)), 0
        """Log-mel [m f] from unit `_mel_first` on."""
        self._first, self._units = 0, self._mel

    def count_batch_frames(self, rate: Fraction) -> int:
        """Count the frames that can be rendered at once within the latency at `rate` frames a second."""
        fps = self._model.mel.timing.fps
        rounding_s = 0 if rate == fps else Fraction(1, fps)  # where frames lie between units
        spare_s = Fraction(self.latency.total_s) - Fraction(self.look_ahead.sources, fps) - _MEL_S - rounding_s
        return max(1, floor(spare_s * rate))

    def has_sound_after(self, time_s: Fraction) -> bool:
        """Wait until there is sound after `time_s`, or until it has ended before; times may not decrease."""
        step = self._model.mel.timing.mels_per_frame
        surplus = floor((time_s - _HELD_S) * self._model.mel.timing.fps) - self._mel_first
        surplus = min(surplus, len(self._mel) // step)
        if surplus > 0:
            self._mel, self._mel_first = copy_array(self._mel[surplus * step :]), self._mel_first + surplus
        while not self.sound.has_ended and self.sound.duration_s <= time_s:
            self._pull()
        return self.sound.duration_s > time_s

    def interpolate(self, positions: Sequence[Fraction]) -> Array:
        """Interpolate units as any source does, after the look-ahead has come in."""
        low, high = (max(floor(position), 0) for position in (min(positions), max(positions)))
        self._load_until(low, high + self.look_ahead.sources)
        return super().interpolate(positions)

    def _pull(self) -> None:
        mel = next(self._mels, None)
        if mel is None:
            config = self._model.mel
            silence = np.full((config.timing.mels_per_frame * config.timing.fps, config.bins), config.floor_db)
            mel = self._model.convert(silence.astype(np.float32))
        self._mel = get_namespace(mel).concatenate([self._mel, mel])

    def _load_until(self, low: int, high: int) -> None:
        if self._first <= low and high < self._first + len(self._units):
            return
        if low < self._mel_first:
            raise ValueError(f"units are given in rising order: asked for {low}, held from {self._mel_first}")
        step, end = self._model.mel.timing.mels_per_frame, high + 1 - self._mel_first
        while len(self._mel) < end * step:
            self._pull()
        start = max(0, min(low - self._mel_first, end - self._window))
        units = self._model.compute_units(self._mel[start * step : end * step])
        self._units, self._first = units, self._mel_first + start


def pace_frames(frames: Iterator[Frame], units: LiveUnits) -> Iterator[Frame]:
    """Yield frames once the sound has reached them, up to its end."""
    for frame in frames:
        if not units.has_sound_after(frame.time_s):
            return
        yield frame
