"""Weights are 1 in speech and fade within pauses worth leaving; the gate silences long pauses and nothing else."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from cals.inference.speech_activity import load_speech_detector
from cals.inference.speech_track import GATED_PAUSE_S, SpeechTrack
from cals.media.audio import load_mono
from cals.models.speech_detector import SpeechDetector, SpeechDetectorConfig, State
from cals.types import F32

RATE_HZ = 16_000
FRAME_S = Fraction(1, 25)
SPEECH = Path(__file__).parents[2] / "examples" / "speech.wav"


class LoudDetector(SpeechDetector):
    """Hears speech wherever there is any sound."""

    def __init__(self) -> None:
        super().__init__(SpeechDetectorConfig())

    def forward(self, samples: Tensor, state: State | None = None) -> tuple[Tensor, State | None]:  # type: ignore[override]
        windows = samples[self.config.context :].view(-1, self.config.window)
        return windows.abs().amax(dim=1).clamp(max=0.9), None


def draw_sound(*spans_s: tuple[float, float], length_s: float) -> F32:
    """Draw sound of level 0.9 in spans and of 0.01 elsewhere."""
    times_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    loud = np.any([(times_s >= start_s) & (times_s < end_s) for start_s, end_s in spans_s], axis=0)
    return np.where(loud, 0.9, 0.01).astype(np.float32)


def build_track(wav: F32, block: int = 4000, rate_hz: int = RATE_HZ, *, gate: bool = False) -> SpeechTrack:
    blocks = (wav[i : i + block] for i in range(0, len(wav), block))
    return SpeechTrack(LoudDetector(), blocks, rate_hz, gate=gate)


def weigh(track: SpeechTrack, length_s: int) -> list[float]:
    return [track.weigh(k * FRAME_S, (k + 1) * FRAME_S) for k in range(25 * length_s)]


def test_weights_fade_within_the_pause() -> None:
    weights = weigh(build_track(draw_sound((1, 2), (4, 5), length_s=7)), 7)
    assert weights[:14] == [0.0] * 14
    assert weights[20:53] == [1.0] * 33  # 0.2 s before the speech, 0.1 s after it
    assert weights[60:88] == [0.0] * 28
    assert weights[95:128] == [1.0] * 33
    assert weights[140:] == [0.0] * 35
    fade = weights[52:60]
    assert fade == sorted(fade, reverse=True)
    assert len({*fade}) >= 5
    assert max(abs(a - b) for a, b in pairwise(weights)) < 0.35


def test_short_pauses_are_not_left() -> None:
    assert min(weigh(build_track(draw_sound((0, 2), (2.7, 5), length_s=5)), 5)) == 1.0
    assert min(weigh(build_track(draw_sound((0, 2), (3.0, 5), length_s=5)), 5)) == 0.0


@pytest.mark.parametrize("block", [333, 16_000])
def test_blocks_pass_unchanged_and_once_whatever_is_asked_first(block: int) -> None:
    wav = draw_sound((1, 2), length_s=4)
    track = build_track(wav, block)
    first = next(track)
    weights = weigh(track, 4)
    assert np.array_equal(np.concatenate([first, *track]), wav)
    assert weights == weigh(build_track(wav), 4)


def test_the_gate_silences_long_pauses_only() -> None:
    wav = draw_sound((1, 2), (4, 5), (11, 12), length_s=14)
    gated = np.concatenate(list(build_track(wav, gate=True)))
    assert len(gated) == len(wav)
    level = np.abs(gated).reshape(-1, RATE_HZ // 20).max(axis=1)  # 50 ms each
    assert np.array_equal(gated[: RATE_HZ * 5], wav[: RATE_HZ * 5])  # a pause of 2 s is heard
    assert level[104:213].max() == 0.0  # that of 6 s is not
    assert np.array_equal(gated[int(10.85 * RATE_HZ) : 12 * RATE_HZ], wav[int(10.85 * RATE_HZ) : 12 * RATE_HZ])
    assert np.abs(np.diff(gated - wav)).max() < 0.001  # no click


def test_sound_without_speech_is_gated_whole() -> None:
    wav = draw_sound((0, 0), length_s=8)
    track = build_track(wav, gate=True)
    assert not np.concatenate(list(track))[RATE_HZ:].any()
    assert track.measure_speech(Fraction(8)) == 0


def test_look_ahead_is_bounded() -> None:
    taken = 0

    def iterate() -> Iterator[F32]:
        nonlocal taken
        for _ in range(200):
            taken += 1
            yield np.full(RATE_HZ // 2, 0.9, np.float32)

    track = SpeechTrack(LoudDetector(), iterate(), RATE_HZ, gate=True)
    for count, _ in enumerate(track, start=1):
        assert (taken - count) / 2 <= GATED_PAUSE_S + 1


def test_speech_is_measured_as_far_as_asked() -> None:
    track = build_track(draw_sound((1, 2), (4, 5), length_s=7))
    assert float(track.measure_speech(Fraction(9, 2))) == pytest.approx(1.5, abs=0.05)
    assert float(track.measure_speech(Fraction(7))) == pytest.approx(2.0, abs=0.1)


def test_other_rates_are_heard_too() -> None:
    wav = np.repeat(draw_sound((1, 2), length_s=4), 3)
    track = build_track(wav, rate_hz=3 * RATE_HZ)
    assert np.array_equal(np.concatenate(list(track)), wav)
    assert [round(float(time_s or 0), 1) for time_s in track.spans[0]] == [1.0, 2.0]


def test_real_speech_between_silences() -> None:
    wav = np.concatenate([np.zeros(2 * RATE_HZ, np.float32), load_mono(SPEECH), np.zeros(2 * RATE_HZ, np.float32)])
    track = SpeechTrack(load_speech_detector(), iter([wav]), RATE_HZ)
    weights = np.array(weigh(track, len(wav) // RATE_HZ))
    assert weights[:40].max() == 0.0
    assert weights[55:210].min() == 1.0
    assert weights[-15:].max() == 0.0
