"""The sound of a file corrupted at its own rate and channels, block by block."""

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
from cals.media.channels import mono_shares
from cals.media.sound import AudioSource
from cals.types import F32

log = logging.getLogger(__name__)

_HEARD_S = 60
"""Of a clip that babble is made of, from its beginning."""
_MOST_CLIPS = 2 * VOICES
_PEAK = 0.9
"""What sound is turned down to where it would leave full scale, which leaves room for what a codec adds."""


class SoundCorruptor:
    """Corrupts the sound of one file: nothing until `prepare` was called, then block after block by `change`.

    The noise is the same in all channels; in their mono mix, as models hear it, it is as strong as asked. Where the sum
    would leave full scale all of the sound is turned down, which is logged, and `gain_db` says by how much.
    """

    def __init__(self, path: Path, *, keep_going: bool) -> None:
        self._path, self._keep_going = path, keep_going
        self._bursts: list[SoundBurst] = []
        self._gain = 1.0
        self.samples = 0
        """Per channel, once prepared,"""
        self.rate_hz = RATE_HZ
        """and how many of them a second has."""

    @property
    def gain_db(self) -> float:
        """Level of the whole sound against that of the file; 0 unless it had to be turned down."""
        return 20 * math.log10(self._gain)

    def prepare(self, bursts: Sequence[Burst], track: MouthTrack, others: Sequence[F32]) -> None:
        """Measure the sound and make the bursts ready; `others`, sound at 16 kHz, babbles."""
        with closing(AudioSource(self._path, keep_going=self._keep_going)) as source:
            self.rate_hz, share = source.rate_hz, float(mono_shares(source.channel_names).sum())
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
                power = energy / self.samples / share**2
                self._bursts.append(
                    build_sound_burst(burst, start, end, power=power, rate_hz=self.rate_hz, others=others, own=own)
                )
        self._turn_down()

    def _span(self, burst: Burst, track: MouthTrack) -> tuple[int, int]:
        start, end = (round(track.begin_s(frame) * self.rate_hz) for frame in (burst.start, burst.end))
        return start, min(end, self.samples)

    def _turn_down(self) -> None:
        before = after = 0.0
        with closing(AudioSource(self._path, keep_going=self._keep_going, quiet=True)) as source:
            first = 0
            for block in source.blocks():
                before = max(before, float(np.abs(block).max(initial=0)))
                after = max(after, float(np.abs(self.change(block, first)).max(initial=0)))
                first += block.shape[1]
        if after > max(1, before):
            self._gain = max(before, _PEAK) / after
            log.warning(
                "%s: speech and noise together exceed full scale; all of the sound is %.1f dB softer",
                self._path,
                -self.gain_db,
            )

    def change(self, block: F32, first: int) -> F32:
        """Samples `first`.. [channels n] of the sound, corrupted."""
        found = block.copy()
        for burst in self._bursts:
            burst.apply(found, first)
        return found if self._gain == 1 else found * np.float32(self._gain)


def load_start(path: Path, *, keep_going: bool = False) -> F32:
    """The first minute of a file's sound [n], mono at 16 kHz."""
    with closing(mono_blocks(path, RATE_HZ, RATE_HZ, keep_going=keep_going, quiet=True)) as blocks:  # type: ignore[type-var]
        return np.concatenate(list(islice(blocks, _HEARD_S)))


def load_babble(folder: Path, rng: np.random.Generator, *, apart_from: Path) -> list[F32]:
    """The beginnings of some of a folder's sound and video files, mono at 16 kHz; DataError where there is none."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.samefile(apart_from))
    except OSError as error:
        raise DataError(f"{folder}: expected a folder of speech for babble, found none to read; name one") from error
    heard: list[F32] = []
    for choice in rng.permutation(len(files)):
        if len(heard) == _MOST_CLIPS:
            break
        try:
            heard.append(load_start(files[int(choice)]))
        except MediaError as error:
            log.debug("babble: %s", error)
    if not heard:
        raise DataError(f"{folder}: expected sound or video files with speech, found none that has sound; name another")
    return heard
