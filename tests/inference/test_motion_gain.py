"""The gain of a voice that is not known beforehand: slowly to where it is for a voice that is."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cals.inference.motion_gain import MotionGain
from cals.models.mesh import FaceMesh
from cals.models.motion import MeshDecoder
from drawn_person import opening_by


def speak(mesh: FaceMesh, decoder: MeshDecoder, scale: float, units: int) -> Tensor:
    """Build motion [t k] whose mouth opens `scale` times as far as the average speaker's."""
    opening = np.clip(np.random.default_rng(0).normal(1, 1, units), 0, None)
    opening *= scale * float(decoder.opening_px) / opening.std()
    return torch.from_numpy(opening).float()[:, None] * opening_by(mesh, 1.0)


def test_a_faint_voice_is_raised_slowly_to_the_same_gain(mesh: FaceMesh, decoder: MeshDecoder) -> None:
    motion = speak(mesh, decoder, 0.7, 600)
    at_once, running = MotionGain(decoder), MotionGain(decoder)
    at_once.observe(0, motion)
    assert at_once.value == pytest.approx(1 / 0.7, abs=0.02)
    values = [1.0]
    for first in range(0, 600, 4):
        running.observe(max(0, first - 10), motion[max(0, first - 10) : first + 4])  # the past again each time
        values.append(running.value)
    assert np.abs(np.diff(values)).max() < 0.01
    assert values[1:6] == [1.0] * 5  # too little was said
    assert running.value == pytest.approx(at_once.value, abs=1e-4)


def test_it_follows_a_change_of_voice_and_stays_in_silence(mesh: FaceMesh, decoder: MeshDecoder) -> None:
    gain, silence = MotionGain(decoder), torch.zeros(2000, len(mesh.basis))
    gain.observe(0, speak(mesh, decoder, 0.7, 600))
    before = gain.value
    gain.observe(600, silence)
    assert gain.value == before
    gain.observe(2600, speak(mesh, decoder, 1.0, 600))
    assert gain.value == pytest.approx(1, abs=0.02)
    assert len(gain._opening) == 600
