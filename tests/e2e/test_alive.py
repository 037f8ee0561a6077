"""`alive`: photos blink and move; videos and models that move heads by themselves refuse."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from cals import ConfigError, LipSync
from cals.inference.load import LoadedModel
from cals.models.audio2head import Audio2Head, Audio2HeadConfig

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTO, VIDEO, SPEECH = EXAMPLES / "astronaut.jpg", EXAMPLES / "grid-s20.mp4", EXAMPLES / "speech.wav"


def test_a_photo_lives_above_the_mouth_too(lips: LipSync) -> None:
    still, alive = (
        [item.frame.rgb().astype(int) for item in islice(lips.frames(PHOTO, SPEECH, alive=on, size=256), 60)]
        for on in (False, True)
    )
    eyes = slice(40, 58), slice(95, 130)
    assert all(np.array_equal(frame[eyes], still[0][eyes]) for frame in still)
    changes = [np.abs(frame[eyes] - still[0][eyes]).mean() for frame in alive]
    assert changes[0] < 2
    assert max(changes) > 5
    assert np.abs(alive[40] - still[40])[:, 230:].max() == 0  # far from the head


def test_others_refuse(lips: LipSync, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"alive: expected a photo .* found a video"):
        lips.generate(VIDEO, SPEECH, tmp_path / "out.mp4", alive=True)
    heads = LipSync(LoadedModel("heads", "0" * 12, Audio2Head(Audio2HeadConfig()).eval()))
    with pytest.raises(ConfigError, match="found heads, which moves the head itself"):
        next(heads.frames(PHOTO, SPEECH, alive=True))
    assert list(tmp_path.iterdir()) == []
