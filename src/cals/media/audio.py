"""Speech for the models: properties of the sound of a file, and the sound as one mono waveform."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from cals.errors import MediaError
from cals.media.channels import get_mono_weights
from cals.media.filters import resample_blocks
from cals.media.placement import Placement, place_voice
from cals.media.sound import AudioSource
from cals.types import F32

log = logging.getLogger(__name__)

# Share of the summed energies. The mix of uncorrelated channels has all of it, that of inverted channels only noise.
_MIN_MIX_ENERGY = 0.25


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """Properties of the sound of a file, measured by decoding all of it."""

    sample_rate_hz: int
    channels: int
    layout: str
    samples: int
    """Samples per channel, on the clock of the file's picture if it has one."""
    duration_s: Fraction
    peak: float
    """Largest absolute value; full scale is 1."""


def _build_empty_error(path: Path) -> MediaError:
    return MediaError(f"{path}: expected speech, found sound of no length; record or export it again")


def probe(
    path: Path | str, *, track: str | int | None = None, keep_going: bool = False, quiet: bool = False
) -> AudioInfo:
    """Decode the whole sound and measure it; MediaError if it is missing, empty, broken or holds NaN or infinity.

    `quiet` where it is probed again, and its notes are logged then.
    """
    with closing(AudioSource(path, track=track, keep_going=keep_going, quiet=quiet)) as source:
        samples, peak = 0, 0.0
        for block in source.iterate_blocks():
            samples += block.shape[1]
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
        if not samples:
            raise _build_empty_error(Path(path))
        return AudioInfo(
            sample_rate_hz=source.rate_hz,
            channels=len(source.channel_names),
            layout=source.layout,
            samples=samples,
            duration_s=Fraction(samples, source.rate_hz),
            peak=peak,
        )


def _compute_mix_weights(source: AudioSource) -> F32:
    """Compute the weight of each channel in the mono mix; the loudest alone counts where the channels cancel."""
    weights = get_mono_weights(source.channel_names)
    if len(weights) == 1:
        return weights
    energy, mix_energy = np.zeros(len(weights)), 0.0
    for block in source.iterate_blocks():
        energy += np.square(block, dtype=np.float64).sum(axis=1) * np.square(weights)
        mix_energy += float(np.square(weights @ block, dtype=np.float64).sum())
    if mix_energy >= _MIN_MIX_ENERGY * energy.sum():
        return weights
    loudest = int(energy.argmax())
    name = source.channel_names[loudest]
    log.warning("%s: its channels cancel each other (one is inverted); hearing %s alone", source.path, name)
    one_hot = np.zeros_like(weights)
    one_hot[loudest] = 1
    return one_hot


def resample(blocks: Iterable[F32], from_hz: int, to_hz: int) -> Iterator[F32]:
    """Yield mono blocks [n] at another rate, together exactly as long as the given ones, rounded to a sample."""
    for block in resample_blocks((block[None] for block in blocks), "mono", from_hz, to_hz):
        yield block[0]


def mono_blocks(
    path: Path | str,
    sample_rate_hz: int = 16_000,
    block: int = 16_000,
    *,
    track: str | int | None = None,
    keep_going: bool = False,
    quiet: bool = False,
    placement: Placement | None = None,
) -> Iterator[F32]:
    """Stream the sound as mono blocks [block] (the last one shorter); sample 0 is at the time of the first picture.

    `track`: one of several, see `select_sound_track`. `quiet`: log nothing, for use after `probe`, which has logged it.
    With `placement` it is the voice as `place_voice` places it, from its start to its end.
    """
    with closing(AudioSource(path, track=track, keep_going=keep_going, quiet=True)) as source:
        weights = _compute_mix_weights(source)
    with closing(AudioSource(path, track=track, keep_going=keep_going, quiet=quiet)) as source:
        pieces: list[F32] = []
        samples, is_empty = 0, True
        if placement is None:
            heard = resample((weights @ part for part in source.iterate_blocks()), source.rate_hz, sample_rate_hz)
        else:
            heard = (weights @ part for part in place_voice(source, placement, sample_rate_hz))
        for piece in heard:
            is_empty = False
            pieces.append(piece)
            samples += len(piece)
            if samples < block:
                continue
            joined = np.concatenate(pieces)
            whole = samples - samples % block
            for start in range(0, whole, block):
                yield joined[start : start + block]
            pieces, samples = [joined[whole:]], samples - whole
        if is_empty:
            raise _build_empty_error(source.path)
        if samples:
            yield np.concatenate(pieces)


def load_mono(
    path: Path | str, sample_rate_hz: int = 16_000, *, track: str | int | None = None, keep_going: bool = False
) -> F32:
    """Load the whole sound as one mono waveform [n]."""
    return np.concatenate(list(mono_blocks(path, sample_rate_hz, track=track, keep_going=keep_going)))
