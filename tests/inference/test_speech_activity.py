"""The detector finds speech and nothing else; runs are cut as stated, from a stream of any blocks."""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from cals import hub
from cals.checkpoint import load_checkpoint
from cals.data.noises import draw_chords, draw_noise
from cals.errors import CheckpointError, ConfigError
from cals.inference.speech_activity import (
    SpeechOptions,
    iterate_activity,
    iterate_speech_probabilities,
    load_speech_detector,
)
from cals.media.audio import load_mono
from cals.models.speech_detector import SpeechDetector, build_speech_detector
from cals.types import F32

SPEECH = Path(__file__).parents[2] / "examples" / "speech.wav"
WINDOW_S = Fraction(1, 10)
PUBLISHED = [0.0017, 0.9984, 1.0, 0.996, 0.9973, 0.9997, 0.0351, 1.0, 0.9998, 1.0, 0.9971]
"""Every 20th probability that silero-vad 6.2.3 gives for `SPEECH`, computed with its own TorchScript file."""


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return load_speech_detector()


@pytest.fixture(scope="module")
def speech() -> F32:
    return load_mono(SPEECH)


def detect(detector: SpeechDetector, wav: F32, block: int = 16_000) -> F32:
    blocks = (wav[i : i + block] for i in range(0, len(wav), block))
    return np.concatenate(list(iterate_speech_probabilities(detector, blocks)))


def test_probabilities_are_the_published_ones(detector: SpeechDetector, speech: F32) -> None:
    found = detect(detector, speech)
    assert len(found) == -(-len(speech) // 512)
    assert found[::20] == pytest.approx(PUBLISHED, abs=1e-4)


@pytest.mark.parametrize("block", [100, 512, 7000])
def test_blocks_do_not_matter(detector: SpeechDetector, speech: F32, block: int) -> None:
    assert detect(detector, speech[:40_000], block) == pytest.approx(detect(detector, speech[:40_000]), abs=1e-5)


def test_noise_music_and_silence_are_no_speech(detector: SpeechDetector) -> None:
    rng = np.random.default_rng(0)
    for wav in (draw_noise(rng, 48_000, 16_000), draw_chords(rng, 48_000, 16_000), np.zeros(48_000)):
        found = iterate_activity([detect(detector, (0.1 * wav).astype(np.float32))], Fraction(512, 16_000))
        assert not any(found)


def decide(pattern: str, **changes: float | Fraction) -> str:
    """Decide on probabilities drawn as `#` 0.9, `+` 0.4 and `.` 0.1, one every tenth of a second."""
    blocks = (np.array([{"#": 0.9, "+": 0.4, ".": 0.1}[mark]], np.float32) for mark in pattern)
    return "".join(".#"[found] for found in iterate_activity(blocks, WINDOW_S, SpeechOptions(**changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("....####....", "....####...."),
        ("..++####++..", "....######.."),  # begins above 0.5, ends below 0.35
        ("####..####", "##########"),  # 0.2 s are no pause
        ("####...####", "####...####"),
        (".####..", ".####.."),  # the ends are pauses however short
        ("", ""),
    ],
)
def test_speech_begins_ends_and_pauses(pattern: str, expected: str) -> None:
    assert decide(pattern) == expected


def test_short_speech_is_dropped_before_short_pauses_are_filled() -> None:
    assert decide("..#..##..#", min_speech_s=Fraction(2, 10)) == ".....##..."


def test_decisions_come_after_a_bounded_look_ahead() -> None:
    taken = 0

    def iterate() -> Iterator[F32]:
        nonlocal taken
        for mark in "##....." * 200:
            taken += 1
            yield np.array([0.9 if mark == "#" else 0.1], np.float32)

    for count, _ in enumerate(iterate_activity(iterate(), WINDOW_S), start=1):
        assert taken - count <= 3


def test_options_out_of_range_say_so() -> None:
    with pytest.raises(ConfigError, match="0 < off <= on < 1"):
        SpeechOptions(on=0.3, off=0.4)
    with pytest.raises(ConfigError, match="durations of 0 s or more"):
        SpeechOptions(min_pause_s=Fraction(-1))


def test_a_checkpoint_that_does_not_fit_says_so() -> None:
    checkpoint = load_checkpoint(hub.SPEECH_DETECTOR_WEIGHTS)
    with pytest.raises(CheckpointError, match="'speech-detector' checkpoint, found a 'mesh'"):
        build_speech_detector(dataclasses.replace(checkpoint, kind="mesh"))
    weights = {name: value for name, value in checkpoint.weights.items() if name != "output.bias"}
    with pytest.raises(CheckpointError, match=r"found others in output\.bias"):
        build_speech_detector(dataclasses.replace(checkpoint, weights=weights))
