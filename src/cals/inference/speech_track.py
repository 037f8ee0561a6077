"""A sound that is heard twice, as blocks for a model and for when somebody speaks, each block decoded once."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from math import inf

import numpy as np

from cals.inference.fade import FADE_S, smooth_step
from cals.inference.speech_activity import SpeechNetwork, iterate_activity, iterate_speech_probabilities
from cals.media.audio import resample
from cals.types import F32

LEAD_S, TAIL_S = Fraction(1, 5), Fraction(1, 10)
"""Margins before and after speech that count as speech: the detector is late at its beginning, and lips are early."""
KEPT_PAUSE_S = Fraction(1, 2)
"""The shortest pause between the margins that is worth leaving to the original mouth; a fade is at either end of it."""
GATED_PAUSE_S = Fraction(4)
"""The shortest pause that the gate silences. In shorter ones music hardly moves a mouth, and a detector that misses a
sung word must not stop it."""
_RAMP_S = 0.05
"""Duration of the gate's ramps, which lie in the pause."""


class SpeechTrack(Iterator[F32]):
    """Iterates over `blocks` [n] of mono sound at `rate_hz`, and looks ahead in it for speech where it is asked.

    With `gate` long stretches without speech are silent. Memory does not grow with the length of the sound, but for two
    numbers a span of speech.
    """

    def __init__(self, detector: SpeechNetwork, blocks: Iterator[F32], rate_hz: int, *, gate: bool = False) -> None:
        self._rate_hz, self._gate = rate_hz, gate
        detector_hz = detector.config.sample_rate_hz
        self._window_s = Fraction(detector.config.window, detector_hz)
        self._blocks = blocks
        self._pending: deque[F32] = deque()
        self._first = 0
        """Sample at which the pending blocks begin."""
        heard = self._hear() if rate_hz == detector_hz else resample(self._hear(), rate_hz, detector_hz)
        probabilities = iterate_speech_probabilities(detector, heard)
        self._activity = iterate_activity(probabilities, self._window_s)
        self._decided_s, self._ended = Fraction(0), False
        self.spans: list[tuple[Fraction, Fraction | None]] = []
        """Start and end of speech in seconds, as far as it has been looked for; no end where it goes on."""

    def __next__(self) -> F32:
        """Return the next block."""
        while not self._pending and not self._ended:
            self._read_until(self._decided_s + self._window_s)
        if not self._pending:
            raise StopIteration
        start_s = Fraction(self._first, self._rate_hz)
        gain = self._compute_gate(start_s, len(self._pending[0])) if self._gate else None
        block = self._pending.popleft()
        self._first += len(block)
        return block if gain is None else block * gain

    def close(self) -> None:
        """Close the blocks."""
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()

    def weigh(self, start_s: Fraction, end_s: Fraction) -> float:
        """Return the weight of a generated mouth from `start_s` to `end_s`: 1 in speech, 0 in pauses, fading there."""
        pauses = self._find_pauses(start_s, end_s, KEPT_PAUSE_S)
        depth_s = max([0.0, *(min(float(start_s) - begin_s, stop_s - float(end_s)) for begin_s, stop_s in pauses)])
        return 1 - smooth_step(depth_s / float(FADE_S))

    def measure_speech(self, until_s: Fraction) -> Fraction:
        """Return how many seconds of speech lie before `until_s`."""
        self._read_until(until_s)
        lengths = ((until_s if end is None else min(end, until_s)) - start for start, end in self.spans)
        return sum((max(length, Fraction(0)) for length in lengths), Fraction(0))

    def _hear(self) -> Iterator[F32]:
        for block in self._blocks:
            self._pending.append(block)
            yield block

    def _read_until(self, time_s: Fraction) -> None:
        while self._decided_s < time_s and not self._ended:
            is_speech = next(self._activity, None)
            self._ended = is_speech is None
            was_speech = bool(self.spans) and self.spans[-1][1] is None
            if is_speech and not was_speech:
                self.spans.append((self._decided_s, None))
            elif not is_speech and was_speech:
                self.spans[-1] = self.spans[-1][0], self._decided_s
            self._decided_s += self._window_s

    def _find_pauses(self, start_s: Fraction, end_s: Fraction, shortest_s: Fraction) -> Iterator[tuple[float, float]]:
        """Yield begin and end of pauses between the margins of speech that overlap `start_s` to `end_s`.

        Before the first speech and after the last one they are endless.
        """
        self._read_until(end_s + LEAD_S + shortest_s)
        first = bisect_right(self.spans, start_s, key=lambda span: span[0])
        for index in range(first, len(self.spans) + 1):
            last_end_s = self.spans[index - 1][1] if index else -TAIL_S
            if last_end_s is None or last_end_s + TAIL_S >= end_s:
                return
            next_start_s = self.spans[index][0] - LEAD_S if index < len(self.spans) else inf
            begin_s = float(last_end_s + TAIL_S)
            if float(next_start_s) - begin_s >= shortest_s:
                yield begin_s if index else -inf, float(next_start_s)

    def _compute_gate(self, start_s: Fraction, samples: int) -> F32 | None:
        """Compute the gain [samples] from `start_s` on: 0 in long pauses and 1 elsewhere, None for 1 throughout."""
        gain = None
        for begin_s, end_s in self._find_pauses(start_s, start_s + Fraction(samples, self._rate_hz), GATED_PAUSE_S):
            times_s = float(start_s) + np.arange(samples) / self._rate_hz
            depth_s = np.minimum(times_s - begin_s, end_s - times_s)
            opened = 1 - np.clip(depth_s / _RAMP_S, 0, 1).astype(np.float32)
            gain = opened if gain is None else np.minimum(gain, opened)
        return gain
