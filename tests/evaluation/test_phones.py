"""The phone recogniser, where it is installed."""

from pathlib import Path

import numpy as np
import pytest

from cals.evaluation.drives import RATE_HZ
from cals.media.audio import load_mono

SPEECH = Path(__file__).parents[2] / "examples" / "speech.wav"


def test_phones_come_in_order_and_fill_the_speech() -> None:
    pytest.importorskip("pocketsphinx", reason="pip install 'cals[phones]'")
    from cals.evaluation.phones import PhoneRecogniser

    wav = load_mono(SPEECH, RATE_HZ)[: 2 * RATE_HZ]
    phones = PhoneRecogniser().find(wav)
    times_s = np.array([phone[1:] for phone in phones])
    assert 6 < len(phones) < 50
    assert not {"SIL"} & {name for name, _, _ in phones}
    assert (times_s[:, 0] < times_s[:, 1]).all()
    assert (times_s[1:, 0] >= times_s[:-1, 1] - 0.011).all()
    assert times_s.max() <= 2.02
