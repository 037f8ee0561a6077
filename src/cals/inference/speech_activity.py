"""When somebody speaks: the probability of speech through a sound, and the spans of speech, from a stream."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cals import hub
from cals.arrays import Array
from cals.errors import ConfigError
from cals.types import F32

if TYPE_CHECKING:
    from cals.models.speech_detector import SpeechDetector

State = tuple[Array, Array]
"""Hidden and cell state of a detector's memory."""


@dataclass(frozen=True, kw_only=True)
class SpeechOptions:
    """How probabilities become spans of speech; ConfigError for values out of range."""

    on: float = 0.5
    """Probability from which speech begins."""
    off: float = 0.35
    """Probability below which it ends."""
    min_speech_s: Fraction = Fraction(1, 10)
    """Shorter speech is dropped: a click or a cough."""
    min_pause_s: Fraction = Fraction(3, 10)
    """A shorter pause between two spans is none: the closure of a stop, a breath."""

    def __post_init__(self) -> None:
        if not 0 < self.off <= self.on < 1:
            raise ConfigError(f"speech: expected 0 < off <= on < 1, found off {self.off:g} and on {self.on:g}")
        if min(self.min_speech_s, self.min_pause_s) < 0:
            raise ConfigError(
                f"speech: expected durations of 0 s or more, found speech {float(self.min_speech_s):g} s and pause "
                f"{float(self.min_pause_s):g} s"
            )


class SpeechWindows(Protocol):
    """What a detector's probabilities are of."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the sound."""

    @property
    def window(self) -> int:
        """Samples of a probability."""

    @property
    def context(self) -> int:
        """Samples before the window that it is seen with."""


class SpeechNetwork(Protocol):
    """Sound to the probability of speech, whichever runtime runs the network."""

    @property
    def config(self) -> SpeechWindows:
        """The windows."""

    def detect(self, samples: F32, state: State | None) -> tuple[F32, State]:
        """Compute probabilities [t] of samples [context + t window] and the state for the samples that follow."""


def load_speech_detector() -> "SpeechDetector":
    """Load the detector that ships, in torch; CheckpointError where it is damaged."""
    from cals.checkpoint import load_checkpoint
    from cals.models.speech_detector import build_speech_detector

    return build_speech_detector(load_checkpoint(hub.SPEECH_DETECTOR_WEIGHTS))


def iterate_speech_probabilities(detector: SpeechNetwork, blocks: Iterable[F32]) -> Iterator[F32]:
    """Yield the probabilities [t] of speech, one every 32 ms, of blocks [n] of mono sound at 16 kHz.

    The last window is filled with silence. Memory does not grow with the length of the sound.
    """
    config = detector.config
    samples, state = np.zeros(config.context, np.float32), None
    for block in blocks:
        samples = np.concatenate([samples, block])
        windows = (len(samples) - config.context) // config.window
        if windows:
            length = windows * config.window
            probabilities, state = detector.detect(samples[: config.context + length], state)
            yield probabilities
            samples = samples[length:]
    if len(samples) > config.context:
        rest = np.pad(samples, (0, config.context + config.window - len(samples)))
        yield detector.detect(rest, state)[0]


def iterate_activity(
    probabilities: Iterable[F32], window_s: Fraction, options: SpeechOptions | None = None
) -> Iterator[bool]:
    """Yield for each window of `window_s` whether it is speech, from blocks of probabilities [t].

    The look-ahead is `min_pause_s`, so memory is bounded and a decision never changes.
    """
    options = options or SpeechOptions()
    speech = _fill_short_runs(_threshold(probabilities, options), True, options.min_speech_s / window_s, fill_ends=True)
    return _fill_short_runs(speech, False, options.min_pause_s / window_s, fill_ends=False)


def _threshold(probabilities: Iterable[F32], options: SpeechOptions) -> Iterator[bool]:
    is_speech = False
    for block in probabilities:
        for probability in block.tolist():
            is_speech = probability >= (options.off if is_speech else options.on)
            yield is_speech


def _fill_short_runs(flags: Iterable[bool], value: bool, shortest: Fraction, *, fill_ends: bool) -> Iterator[bool]:
    """Invert runs of `value` shorter than `shortest` items; those at either end only with `fill_ends`."""
    pending, is_long = 0, not fill_ends
    for flag in flags:
        if flag is value:
            pending += 1
            is_long = is_long or pending >= shortest
            if is_long:
                yield from (value for _ in range(pending))
                pending = 0
        else:
            yield from (not value for _ in range(pending))
            yield flag
            pending, is_long = 0, False
    yield from ((not value if fill_ends else value) for _ in range(pending))
