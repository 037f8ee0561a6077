"""Speech for the models: what a file's sound is, and the sound itself as one mono waveform."""

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from cals.errors import MediaError
from cals.media.channels import from_frame, mono_shares, to_frame
from cals.media.sound import AudioSource
from cals.types import F32

log = logging.getLogger(__name__)

# A mix of unrelated channels has the sum of their energies, one of opposite channels none; noise keeps that above 0.
_CANCELLED = 0.25


@dataclass(frozen=True, kw_only=True)
class AudioFacts:
    """What the sound of a file is, found by decoding all of it."""

    sample_rate_hz: int
    channels: int
    layout: str
    samples: int
    """Per channel, on the clock of the file's picture if it has one."""
    duration_s: Fraction
    peak: float
    """Largest absolute value; full scale is 1."""


def _no_samples(path: Path) -> MediaError:
    return MediaError(f"{path}: expected speech, found sound of no length; record or export it again")


def probe(path: Path | str, *, track: str | int | None = None, keep_going: bool = False) -> AudioFacts:
    """Decode the whole sound once; MediaError if there is none, it is empty, broken or holds NaN or infinity."""
    with closing(AudioSource(path, track=track, keep_going=keep_going)) as source:
        samples, peak = 0, 0.0
        for block in source.blocks():
            samples += block.shape[1]
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
        if not samples:
            raise _no_samples(Path(path))
        return AudioFacts(
            sample_rate_hz=source.rate_hz,
            channels=len(source.channel_names),
            layout=source.layout,
            samples=samples,
            duration_s=Fraction(samples, source.rate_hz),
            peak=peak,
        )


def _heard_shares(source: AudioSource) -> F32:
    """The share of each channel in the mono mix; all of it the loudest one's where the channels cancel in a mix."""
    shares = mono_shares(source.channel_names)
    if len(shares) == 1:
        return shares
    energy, mixed = np.zeros(len(shares)), 0.0
    for block in source.blocks():
        energy += np.square(block, dtype=np.float64).sum(axis=1) * np.square(shares)
        mixed += float(np.square(shares @ block, dtype=np.float64).sum())
    if mixed >= _CANCELLED * energy.sum():
        return shares
    loudest = int(energy.argmax())
    name = source.channel_names[loudest]
    log.warning("%s: its channels cancel each other (one is inverted); hearing %s alone", source.path, name)
    alone = np.zeros_like(shares)
    alone[loudest] = 1
    return alone


def _resampled(source: AudioSource, shares: F32, rate_hz: int) -> Iterator[F32]:
    """Mono pieces [n] at `rate_hz`, in all exactly as long as the source, rounded to a sample."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
    heard, given = 0, 0
    for block in source.blocks():
        frame = to_frame((shares @ block)[None], "mono")
        frame.sample_rate, frame.pts, frame.time_base = source.rate_hz, heard, Fraction(1, source.rate_hz)
        heard += block.shape[1]
        for part in resampler.resample(frame):
            given += part.samples
            yield from_frame(part)[0]
    if not heard:
        raise _no_samples(source.path)
    missing = round(Fraction(heard * rate_hz, source.rate_hz)) - given
    if source.rate_hz != rate_hz:
        for part in resampler.resample(None):
            tail = from_frame(part)[0][: max(missing, 0)]
            missing -= len(tail)
            yield tail
    if missing > 0:
        yield np.zeros(missing, np.float32)


def mono_blocks(
    path: Path | str,
    sample_rate_hz: int = 16_000,
    block: int = 16_000,
    *,
    track: str | int | None = None,
    keep_going: bool = False,
    quiet: bool = False,
) -> Iterator[F32]:
    """The sound as mono blocks [block] (the last one shorter), streamed; sample 0 is the first picture's moment.

    `track`: one of several, see `pick_sound`. `quiet`: after `probe`, so that what it logged is not logged again.
    """
    with closing(AudioSource(path, track=track, keep_going=keep_going, quiet=True)) as source:
        shares = _heard_shares(source)
    with closing(AudioSource(path, track=track, keep_going=keep_going, quiet=quiet)) as source:
        held: list[F32] = []
        have = 0
        for piece in _resampled(source, shares, sample_rate_hz):
            held.append(piece)
            have += len(piece)
            if have < block:
                continue
            joined = np.concatenate(held)
            whole = have - have % block
            for start in range(0, whole, block):
                yield joined[start : start + block]
            held, have = [joined[whole:]], have - whole
        if have:
            yield np.concatenate(held)


def load_mono(
    path: Path | str, sample_rate_hz: int = 16_000, *, track: str | int | None = None, keep_going: bool = False
) -> F32:
    """The whole sound as one mono waveform [n]."""
    return np.concatenate(list(mono_blocks(path, sample_rate_hz, track=track, keep_going=keep_going)))
