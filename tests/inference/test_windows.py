from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor

from cals.features.mel import MelConfig, compute_log_mel
from cals.inference.windows import OVERLAP_S, WINDOW_S, UnitStream, iterate_units
from cals.models.debug import DebugConfig, DebugLips
from cals.models.lips import Faces, Gallery, LipConfig, LipModel

WINDOW, OVERLAP = 25 * WINDOW_S, 25 * OVERLAP_S


class WindowMarker(LipModel):
    """Every window answers with its own number, so that the joins can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.config = LipConfig()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.calls = 0

    def predict_units(self, mel: Tensor) -> Tensor:
        self.calls += 1
        return torch.full((1, mel.shape[1] // 4, 1), float(self.calls))

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        return faces.crops


def build_sound(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


def compute_units(seconds: float, count: int, block: int) -> Tensor:
    model = DebugLips(DebugConfig()).eval()
    wav = build_sound(seconds)
    blocks = iterate_units(model, (wav[i : i + block] for i in range(0, len(wav), block)))
    units = [next(blocks)]
    while sum(map(len, units)) < count:
        units.append(next(blocks))
    return torch.cat(units)[:count]


def test_windows_join_to_what_one_pass_over_all_the_sound_gives() -> None:
    model = DebugLips(DebugConfig()).eval()
    with torch.inference_mode():
        expected = model.predict_units(compute_log_mel(torch.from_numpy(build_sound(25.0)[None]), MelConfig()))[0]
    units = compute_units(25.0, 625, block=1700)
    torch.testing.assert_close(units, expected, atol=1e-4, rtol=0)


def test_joins_have_no_step() -> None:
    stream = torch.cat(list(islice(iterate_units(WindowMarker(), [build_sound(1.0)]), 4)))[:, 0]
    assert stream[0] == 1
    assert float(stream.diff().abs().max()) <= 1 / OVERLAP + 1e-6
    assert stream[WINDOW] == pytest.approx(2.0)


def test_after_the_speech_there_is_silence_for_ever() -> None:
    units = compute_units(1.0, 3 * WINDOW, block=16000)
    silent_units = units[30:]
    torch.testing.assert_close(silent_units, silent_units[:1].expand_as(silent_units), atol=1e-5, rtol=0)


def build_ramp() -> UnitStream:
    blocks = (torch.arange(i, i + 10, dtype=torch.float32)[:, None] for i in range(0, 10**9, 10))
    return UnitStream(blocks)


def test_units_in_between_are_interpolated() -> None:
    track = build_ramp()
    units = track.interpolate([Fraction(-1, 2), Fraction(0), Fraction(1, 4), Fraction(19, 2), Fraction(40)])
    assert units[:, 0].tolist() == [0, 0, 0.25, 9.5, 40]


def test_only_what_is_needed_is_held() -> None:
    track = build_ramp()
    for start in range(0, 5000, 8):
        track.interpolate([Fraction(start + i) for i in range(8)])
        assert len(track._units) <= 30
    assert track.interpolate([Fraction(100_000)])[0, 0] == 100_000  # a leap ahead (a long gap) is no error
    with pytest.raises(ValueError, match="rising order"):
        track.interpolate([Fraction(3)])
