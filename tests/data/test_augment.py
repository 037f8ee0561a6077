import numpy as np
import pytest
import torch

from cals.data.augment import FaceAugment, VoiceAugment, faces, voices
from cals.data.windows import speaker_weights, step_rng

FLOOR = -100.0


def speech(batch: int = 4) -> torch.Tensor:
    mel = torch.full((batch, 60, 80), -60.0)
    mel[:, 20:24, 10:30] = -10  # one loud syllable
    return mel


def test_voices_keep_the_timing_and_change_the_sound() -> None:
    found = voices(speech(64), step_rng(0, 0), VoiceAugment(probability=1.0), FLOOR)
    loud = found.amax(dim=2)
    assert (loud.argmax(dim=1) >= 20).all()
    assert (loud.argmax(dim=1) < 24).all()
    assert float((found - speech(64)).abs().mean()) > 3
    assert float(found.min()) >= FLOOR
    peaks = found[:, 21].argmax(dim=1)
    assert peaks.float().std() > 0.5  # other vocal tracts


def test_nothing_is_changed_where_nothing_may_change() -> None:
    still = VoiceAugment(probability=0.0)
    torch.testing.assert_close(voices(speech(), step_rng(0, 0), still, FLOOR), speech())
    none = FaceAugment(turn_deg=0, scale=0, aspect=0, shift=0, gain=0, colour=0, gamma=0, flip=False)
    crops = torch.rand(2, 3, 3, 32, 64) * 0.9 + 0.05
    torch.testing.assert_close(faces(crops, step_rng(0, 0), none), crops, atol=1e-4, rtol=0)


def test_all_frames_of_a_clip_change_alike() -> None:
    crops = torch.rand(3, 1, 3, 32, 64).expand(-1, 4, -1, -1, -1)
    found = faces(crops, step_rng(0, 1), FaceAugment())
    torch.testing.assert_close(found, found[:, :1].expand_as(found))
    assert float((found[0] - found[1]).abs().mean()) > 0.05


def test_a_turn_does_not_shear_a_wide_picture() -> None:
    picture = torch.zeros(1, 1, 3, 64, 128)
    picture[..., 27:37, 59:69] = 1.0  # a square in the middle
    found = faces(
        picture, step_rng(3, 0), FaceAugment(turn_deg=30, scale=0, aspect=0, shift=0, gain=0, colour=0, gamma=0)
    )
    assert float(found[0, 0, 0].sum()) == pytest.approx(100, rel=0.08)
    rows, columns = torch.nonzero(found[0, 0, 0] > 0.5, as_tuple=True)
    assert int(rows.max() - rows.min()) == pytest.approx(int(columns.max() - columns.min()), abs=1)


def test_augmentation_is_seeded() -> None:
    config = VoiceAugment()
    first = voices(speech(), step_rng(1, 5), config, FLOOR)
    torch.testing.assert_close(first, voices(speech(), step_rng(1, 5), config, FLOOR))
    assert not torch.equal(first, voices(speech(), step_rng(1, 6), config, FLOOR))


def test_speakers_are_balanced_half_way() -> None:
    speakers = ["a"] * 100 + ["b"]
    found = speaker_weights(speakers)
    assert found.sum() == pytest.approx(1)
    assert found[100] / found[:100].sum() == pytest.approx(1 / 10)
    assert speaker_weights(speakers, power=0.0)[100] == pytest.approx(0.5)
    assert np.allclose(speaker_weights(speakers, power=1.0), 1 / 101)
