"""Units of sound that is still coming in: those of the whole sound, as early as promised, from little memory."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cals.errors import ConfigError, MediaError
from cals.features.mel import MelConfig, compute_log_mel
from cals.inference.live import Chunk, LiveUnits, to_mono
from cals.inference.load import load_model
from cals.inference.windows import iterate_units
from cals.media.audio import load_mono
from cals.models.cals import MeshLips
from cals.models.debug import DebugConfig, DebugLips
from cals.models.mesh import measure_lip_gap
from cals.options import Latency

ROOT = Path(__file__).parents[2]
RATE_HZ, FPS = 16_000, 25
LATENCY = Latency()
AHEAD = round(LATENCY.look_ahead_s * FPS)
BATCH = 4


def build_sound(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, int(RATE_HZ * seconds)).astype(np.float32)


def cut(wav: np.ndarray, size: int) -> Iterator[Chunk]:
    """Yield chunks [..., size]; the last one is shorter."""
    for start in range(0, wav.shape[-1], size):
        yield wav[..., start : start + size]


def build_units(chunks: Iterator[Chunk], rate_hz: int = RATE_HZ) -> LiveUnits:
    return LiveUnits(DebugLips(DebugConfig()).eval(), chunks, rate_hz, LATENCY)


def read_batches(units: LiveUnits, count: int) -> Tensor:
    """Request units as a painter does, batch by batch with what lies before and after; [count d]."""
    parts = []
    for first in range(0, count, BATCH):
        before = max(0, first - 10)
        parts.append(units.slice(before, first + BATCH - 1 + AHEAD)[first - before : -AHEAD])
    return torch.cat(parts)[:count]


@pytest.mark.parametrize("size", [1, 333, 10 * RATE_HZ])
def test_units_are_those_of_the_whole_sound_whatever_the_chunks(size: int) -> None:
    wav = build_sound(6.0 if size > 1 else 0.5)
    model = DebugLips(DebugConfig()).eval()
    with torch.inference_mode():
        expected = model.predict_units(compute_log_mel(torch.from_numpy(wav[None]), MelConfig()))[0]
    units = read_batches(build_units(cut(wav, size)), len(expected))
    torch.testing.assert_close(units, expected, atol=1e-4, rtol=0)


def test_after_the_sound_there_is_silence() -> None:
    units = read_batches(build_units(iter([build_sound(0.5)])), 4 * FPS)[20:]
    torch.testing.assert_close(units, units[:1].expand_as(units), atol=1e-5, rtol=0)
    with torch.inference_mode():
        silence = build_units(iter([]))._model.predict_units(torch.full((1, 4, 80), MelConfig().floor_db))[0]
    torch.testing.assert_close(units[:1], silence, atol=1e-5, rtol=0)


def test_openings_are_those_of_the_whole_sound_but_for_the_look_ahead() -> None:
    """What is lost without the rest of the sentence, measured on speech with the model that ships."""
    network = load_model("grid-small").network.eval()
    assert isinstance(network, MeshLips)
    wav = load_mono(ROOT / "examples" / "speech.wav", RATE_HZ)
    count = len(wav) * FPS // RATE_HZ
    with torch.inference_mode():
        live = read_batches(LiveUnits(network, cut(wav, 320), RATE_HZ, LATENCY), count)
        whole = torch.cat(list(islice(iterate_units(network, [wav]), 1)))[:count]
        openings = network.predict_motion(torch.stack([live, whole])) @ measure_lip_gap(network.decoder.mesh.basis)
    assert float(torch.corrcoef(openings)[0, 1]) >= 0.97


def test_no_sound_is_waited_for_that_is_not_needed() -> None:
    size, received = 160, 0

    def listen() -> Iterator[Chunk]:
        nonlocal received
        for chunk in cut(build_sound(10.0), size):
            received += len(chunk)
            yield chunk

    units = build_units(listen())
    for first in range(0, 8 * FPS, BATCH):
        assert units.has_sound_after(Fraction(first + BATCH - 1, FPS))
        units.slice(max(0, first - 10), first + BATCH - 1 + AHEAD)
        latency_s = Fraction(received, RATE_HZ) - Fraction(first, FPS)
        assert Fraction(BATCH + AHEAD, FPS) < latency_s <= Fraction(1, 2)


def test_memory_does_not_grow_with_faces_or_without() -> None:
    second = build_sound(1.0)
    units = build_units(chain.from_iterable(cut(second, 1600) for _ in range(100)))
    lengths = set()
    for first in range(0, 98 * FPS, BATCH):
        assert units.has_sound_after(Fraction(first + BATCH, FPS))
        if first < 40 * FPS:  # then there is no face, and no units are requested
            units.slice(max(0, first - 10), first + BATCH - 1 + AHEAD)
        lengths.add(len(units._mel) + len(units._units))
    assert max(lengths) <= 100 * 33 + 100
    assert len(units.slice(97 * FPS, 98 * FPS)) == 26


def test_how_long_the_sound_is_shows_at_its_end() -> None:
    units = build_units(cut(build_sound(1.0), 700))
    assert units.has_sound_after(Fraction(RATE_HZ - 1, RATE_HZ))
    assert not units.has_sound_after(Fraction(1))
    assert not build_units(iter([])).has_sound_after(Fraction(0))
    assert not build_units(iter([np.zeros(0, np.float32)])).has_sound_after(Fraction(0))


def test_other_rates_channels_and_integers_are_the_same_sound() -> None:
    stereo = (np.stack([build_sound(1.0), build_sound(1.0)]) * 32768).round().astype(np.int16)
    expected = read_batches(build_units(iter([stereo[0].astype(np.float32) / 32768])), FPS)
    torch.testing.assert_close(read_batches(build_units(cut(stereo, 401)), FPS), expected, atol=1e-5, rtol=0)
    time_s = np.arange(48_000) / 48_000
    tone = np.sin(2 * np.pi * 440 * time_s).astype(np.float32)
    resampled = read_batches(build_units(cut(tone, 480), 48_000), FPS)
    torch.testing.assert_close(
        resampled[5:20], read_batches(build_units(iter([tone[::3]])), FPS)[5:20], atol=0.05, rtol=0
    )


@pytest.mark.parametrize(
    "chunk",
    [
        np.zeros(5, np.int32),
        np.zeros((480, 2), np.float32),
        np.zeros((4, 1), np.float32),
        np.zeros((1, 1, 5), np.float32),
        np.float32([0, np.nan]),
    ],
    ids=["int32", "interleaved", "short and interleaved", "three axes", "nan"],
)
def test_a_chunk_that_is_no_sound_says_why(chunk: Chunk) -> None:
    with pytest.raises(MediaError, match="chunk: expected sound"):
        to_mono(chunk)


@pytest.mark.parametrize("values", [{"look_ahead_s": 0.45}, {"look_ahead_s": 0.1}, {"window_s": 1.0}, {"window_s": 60}])
def test_latencies_that_cannot_be_kept_are_errors(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="latency: expected"):
        Latency(**values)


def test_a_rate_that_is_none_is_an_error() -> None:
    with pytest.raises(ConfigError, match="rate in Hz"):
        build_units(iter([]), 0)
    with pytest.raises(ConfigError, match="a whole rate in Hz, found 16000.5"):
        build_units(iter([]), 16_000.5)


def test_batches_fill_the_latency_at_any_frame_rate() -> None:
    units = build_units(iter([]))
    for rate in (12, 24, 25, 30, 50, 60):
        frames = units.count_batch_frames(Fraction(rate))
        last_middle = Fraction(2 * frames - 1, 2 * rate)
        last_unit = units._model.mel.timing.to_unit_position(last_middle).__ceil__() + AHEAD
        assert Fraction(last_unit + 1, FPS) + Fraction(1, 100) <= Fraction(1, 2), rate
    assert units.count_batch_frames(Fraction(25)) == BATCH
    assert units.count_batch_frames(Fraction(1)) == 1
