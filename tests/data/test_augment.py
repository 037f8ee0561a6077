from dataclasses import replace

import numpy as np
import pytest
import torch

from cals.data.augment import FaceAugment, VoiceAugment, augment_faces, augment_voices
from cals.data.windows import build_step_rng, compute_speaker_weights

FLOOR = -100.0
STILL = FaceAugment(turn_deg=0, scale=0, aspect=0, shift=0, bumps=0, gain=0, colour=0, gamma=0, blur=0, noise=0, jpeg=0)


def speech(batch: int = 4) -> torch.Tensor:
    mel = torch.full((batch, 60, 80), -60.0)
    mel[:, 20:24, 10:30] = -10  # one loud syllable
    return mel


def test_voices_keep_the_timing_and_change_the_sound() -> None:
    augmented = augment_voices(speech(64), build_step_rng(0, 0), VoiceAugment(probability=1.0), FLOOR)
    loud = augmented.amax(dim=2)
    assert (loud.argmax(dim=1) >= 20).all()
    assert (loud.argmax(dim=1) < 24).all()
    assert float((augmented - speech(64)).abs().mean()) > 3
    assert float(augmented.min()) >= FLOOR
    peaks = augmented[:, 21].argmax(dim=1)
    assert peaks.float().std() > 0.5  # other vocal tracts


def test_nothing_is_changed_where_nothing_may_change() -> None:
    still = VoiceAugment(probability=0.0)
    torch.testing.assert_close(augment_voices(speech(), build_step_rng(0, 0), still, FLOOR), speech())
    crops = torch.randint(0, 256, (2, 3, 3, 32, 64), dtype=torch.uint8)
    torch.testing.assert_close(augment_faces(crops, build_step_rng(0, 0), replace(STILL, flip=False)), crops / 255)
    torch.testing.assert_close(
        augment_faces(crops / 255, build_step_rng(0, 0), replace(STILL, flip=False)), crops / 255
    )


def test_all_frames_of_a_clip_change_alike() -> None:
    crops = torch.rand(3, 1, 3, 32, 64).expand(-1, 4, -1, -1, -1)
    augmented = augment_faces(crops, build_step_rng(0, 1), FaceAugment(noise=0))  # noise is every frame's own
    torch.testing.assert_close(augmented, augmented[:, :1].expand_as(augmented))
    assert float((augmented[0] - augmented[1]).abs().mean()) > 0.05


def test_a_turn_does_not_shear_a_wide_picture() -> None:
    picture = torch.zeros(1, 1, 3, 64, 128)
    picture[..., 27:37, 59:69] = 1.0  # a square in the middle
    augmented = augment_faces(picture, build_step_rng(3, 0), replace(STILL, turn_deg=30))
    assert float(augmented[0, 0, 0].sum()) == pytest.approx(100, rel=0.08)
    rows, columns = torch.nonzero(augmented[0, 0, 0] > 0.5, as_tuple=True)
    assert int(rows.max() - rows.min()) == pytest.approx(int(columns.max() - columns.min()), abs=1)


def test_a_codec_loses_the_weak_and_rounds_the_rest() -> None:
    mel = torch.rand(16, 50, 80) * 80 - 90
    config = VoiceAugment(warp=0, tilt_db=0, gain_db=0, noise_db=(-200, -200), band_limit=0, codec=1, probability=1)
    augmented = augment_voices(mel, build_step_rng(0, 0), config, FLOOR)
    lost = augmented == FLOOR
    assert 0.1 < float(lost.float().mean()) < 0.9
    assert float((augmented - mel)[~lost].abs().max()) <= 1.51
    assert (mel[lost] < mel.amax(dim=2, keepdim=True).expand_as(mel)[lost] - 24).all()


def test_faces_are_seeded_whatever_the_threads() -> None:
    crops = torch.randint(0, 256, (6, 2, 3, 32, 64), dtype=torch.uint8)
    first = augment_faces(crops, build_step_rng(1, 5), FaceAugment())
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    torch.testing.assert_close(first, augment_faces(crops, build_step_rng(1, 5), FaceAugment()), rtol=0, atol=0)
    torch.set_num_threads(before)
    assert not torch.equal(first, augment_faces(crops, build_step_rng(1, 6), FaceAugment()))


def test_augmentation_is_seeded() -> None:
    config = VoiceAugment()
    first = augment_voices(speech(), build_step_rng(1, 5), config, FLOOR)
    torch.testing.assert_close(first, augment_voices(speech(), build_step_rng(1, 5), config, FLOOR))
    assert not torch.equal(first, augment_voices(speech(), build_step_rng(1, 6), config, FLOOR))


def test_speakers_are_balanced_half_way() -> None:
    speakers = ["a"] * 100 + ["b"]
    augmented = compute_speaker_weights(speakers)
    assert augmented.sum() == pytest.approx(1)
    assert augmented[100] / augmented[:100].sum() == pytest.approx(1 / 10)
    assert compute_speaker_weights(speakers, power=0.0)[100] == pytest.approx(0.5)
    assert np.allclose(compute_speaker_weights(speakers, power=1.0), 1 / 101)
