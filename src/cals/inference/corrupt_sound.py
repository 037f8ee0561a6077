"""Corruption of a file's sound at its own rate and channels, block by block."""

import logging
import math
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np

from cals.data.corruption.bursts import Burst
from cals.data.corruption.noise import RATE_HZ, VOICES, measure_power
from cals.data.corruption.sound import SoundBurst, build_sound_burst
from cals.errors import DataError, MediaError
from cals.inference.mouth_places import MouthTrack
from cals.media.audio import mono_blocks
from cals.media.channels import get_mono_weights
from cals.media.sound import AudioSource
from cals.types import F32

log = logging.getLogger(__name__)

_MAX_CLIP_S = 60
"""Length of a clip for babble, from its beginning."""
_MAX_CLIPS = 2 * VOICES
_PEAK = 0.9
"""Peak after attenuation where the sum would exceed full scale, with headroom for the codec."""


class SoundCorruptor:
    """Corrupts the sound of one file: call `prepare` first, then `corrupt` for each block.

    The noise is the same in all channels; its level is that of their mono mix, which models take. Where the sum would
    exceed full scale, all of the sound is attenuated by `gain_db`, and this is logged.
    """

    def __init__(self, path: Path, *, keep_going: bool) -> None:
        self._path, self._keep_going = path, keep_going
        self._bursts: list[SoundBurst] = []
        self._gain = 1.0
        self.samples = 0
        """Samples per channel, known after `prepare`."""
        self.rate_hz = RATE_HZ
        """Sample rate, that of the file after `prepare`."""

    @property
    def gain_db(self) -> float:
        """Gain of the whole sound against the file; 0 unless it had to be attenuated."""
        return 20 * math.log10(self._gain)

    def prepare(self, bursts: Sequence[Burst], track: MouthTrack, others: Sequence[F32]) -> None:
        """Measure the sound and build the bursts; babble is mixed from `others`, sound at 16 kHz."""
        with closing(AudioSource(self._path, keep_going=self._keep_going)) as source:
            self.rate_hz, mono_share = source.rate_hz, float(get_mono_weights(source.channel_names).sum())
        energy, self.samples = 0.0, 0
        for block in mono_blocks(self._path, self.rate_hz, keep_going=self._keep_going, quiet=True):
            energy += measure_power(block) * len(block)
            self.samples += len(block)
        if not self.samples:
            raise MediaError(f"{self._path}: expected sound, found a track of no length; use --streams video")
        own = load_start(self._path, keep_going=self._keep_going)
        for burst in bursts:
            start, end = self._span(burst, track)
            if start < end:
                power = energy / self.samples / mono_share**2
                self._bursts.append(
                    build_sound_burst(burst, start, end, power=power, rate_hz=self.rate_hz, others=others, own=own)
                )
        self._limit_peak()

    def _span(self, burst: Burst, track: MouthTrack) -> tuple[int, int]:
        start, end = (round(track.compute_start_s(frame) * self.rate_hz) for frame in (burst.start, burst.end))
        return start, min(end, self.samples)

    def _limit_peak(self) -> None:
        peak_before = peak_after = 0.0
        with closing(AudioSource(self._path, keep_going=self._keep_going, quiet=True)) as source:
            first = 0
            for block in source.iterate_blocks():
                peak_before = max(peak_before, float(np.abs(block).max(initial=0)))
                peak_after = max(peak_after, float(np.abs(self.corrupt(block, first)).max(initial=0)))
                first += block.shape[1]
        if peak_after > max(1, peak_before):
            self._gain = max(peak_before, _PEAK) / peak_after
            log.warning(
                "%s: speech and noise together exceed full scale; all of the sound is %.1f dB softer",
                self._path,
                -self.gain_db,
            )

    def corrupt(self, block: F32, first: int) -> F32:
        """Return the block [channels n] that begins at sample `first`, corrupted."""
        corrupted = block.copy()
        for burst in self._bursts:
            burst.apply(corrupted, first)
        return corrupted if self._gain == 1 else corrupted * np.float32(self._gain)


def load_start(path: Path, *, keep_going: bool = False) -> F32:
    """Load the first minute of a file's sound [n], mono at 16 kHz."""
    with closing(mono_blocks(path, RATE_HZ, RATE_HZ, keep_going=keep_going, quiet=True)) as blocks:  # type: ignore[type-var]
        return np.concatenate(list(islice(blocks, _MAX_CLIP_S)))


def load_babble(folder: Path, rng: np.random.Generator, *, reserved: Path) -> list[F32]:
    """Load the beginnings of some of a folder's sound and video files, mono at 16 kHz; DataError without any."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.samefile(reserved))
    except OSError as error:
        raise DataError(f"{folder}: expected a folder of speech for babble, found none to read; name one") from error
    clips: list[F32] = []
    for index in rng.permutation(len(files)):
        if len(clips) == _MAX_CLIPS:
            break
        try:
            clips.append(load_start(files[int(index)]))
        except MediaError as error:
            log.debug("babble: %s", error)
    if not clips:
        raise DataError(f"{folder}: expected sound or video files with speech, found none that has sound; name another")
    return clips
