"""Who says what when: rolled sound and the real mouths that belong to it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cals import LipSync
from cals.data.manifest import ClipSource
from cals.errors import MediaError
from cals.evaluation.drives import AlignedFaces, RealClip, read_clip, roll_sound, roll_target
from cals.evaluation.outputs import build_copy_output, generate_output
from cals.face.detector import FaceDetector
from cals.media.audio import load_mono


def clip(frames: int, rate: float = 25.0) -> RealClip:
    """Frame k has k in its crop and landmarks."""
    number = np.arange(frames)
    seen = AlignedFaces(
        np.broadcast_to(number[:, None, None, None], (frames, 4, 4, 3)).astype(np.uint8),
        np.broadcast_to(number[:, None, None], (frames, 468, 2)).astype(float),
        np.ones(frames, bool),
    )
    source = ClipSource(name="a/b", speaker="a", video=Path("b.mp4"))
    return RealClip(source, [], seen, number / rate, frames / rate)


@pytest.mark.parametrize("frames", [60, 75])
def test_the_mouth_is_rolled_as_the_sound_is(frames: int) -> None:
    face = clip(frames)
    meant = roll_target(clip(frames), face)
    assert meant.landmarks[:, 0, 0].tolist() == np.roll(np.arange(frames), frames // 2).tolist()
    assert meant.crops[:, 0, 0, 0].tolist() == meant.landmarks[:, 0, 0].tolist()
    assert meant.valid.all()


def test_nothing_is_meant_after_the_sounds_end() -> None:
    meant = roll_target(clip(40), clip(50))
    assert meant.valid.tolist() == [True] * 40 + [False] * 10
    assert meant.landmarks[:40, 0, 0].tolist() == np.roll(np.arange(40), 20).tolist()


def test_a_speaker_of_another_frame_rate_is_matched_in_time() -> None:
    meant = roll_target(clip(150, rate=75.0), clip(50, rate=25.0))
    assert meant.landmarks[:, 0, 0].tolist() == np.roll(np.arange(1, 150, 3), 25).tolist()


def test_an_absent_face_is_not_valid_where_it_is_heard() -> None:
    speaker = clip(40)
    speaker.faces.valid[5] = False
    assert np.flatnonzero(~roll_target(speaker, clip(40)).valid).tolist() == [25]


def test_the_wav_is_the_clips_sound_rolled_by_half(raw: Path, tmp_path: Path, detector: FaceDetector) -> None:
    real = read_clip(ClipSource(name="anna/one", speaker="anna", video=raw / "anna" / "one.mp4"), detector)
    assert real.end_s == pytest.approx(48 / 25)
    assert real.shift_s == pytest.approx(24 / 25)
    roll_sound(real, tmp_path / "rolled.wav")
    rolled, wav = load_mono(tmp_path / "rolled.wav"), real.load_wav()
    assert rolled.shape == wav.shape == (48 * 640,)
    assert rolled == pytest.approx(np.roll(wav, 24 * 640), abs=1e-4)


@pytest.mark.parametrize("late_frames", [2, -3, 0.5])
def test_a_late_picture_gets_its_sound_later(
    raw: Path, tmp_path: Path, detector: FaceDetector, late_frames: float
) -> None:
    real = read_clip(ClipSource(name="anna/one", speaker="anna", video=raw / "anna" / "one.mp4"), detector)
    late, moved = replace(real, video_delay_s=late_frames / 25), round(late_frames * 640)
    wav, before = late.load_wav(), real.load_wav()
    assert wav.shape == before.shape
    if moved > 0:
        assert (wav[moved:] == before[:-moved]).all()
        assert (wav[:moved] == 0).all()
    else:
        assert (wav[: len(wav) + moved - 3200] == before[-moved:-3200]).all()  # beyond: what the file has there


def test_of_a_clip_read_in_part_the_model_makes_that_part(raw: Path, detector: FaceDetector) -> None:
    source = ClipSource(name="anna/one", speaker="anna", video=raw / "anna" / "one.mp4")
    whole, part = read_clip(source, detector), read_clip(source, detector, limit_s=1.0)
    assert (len(whole.frames), len(part.frames), part.end_s) == (48, 25, 1.0)
    assert (part.faces.crops == whole.faces.crops[:25]).all()
    assert part.middles_s.tolist() == pytest.approx([(k + 0.5) / 25 for k in range(25)])
    generated = generate_output(part, source.video, LipSync("debug"), detector).faces
    assert generated.crops.shape == part.faces.crops.shape
    assert generated.valid.all()
    with pytest.raises(MediaError, match="ends by 0.010 s"):
        read_clip(source, detector, limit_s=0.01)


def test_copied_mouths_are_others_and_the_same_every_time(raw: Path, detector: FaceDetector) -> None:
    real = read_clip(ClipSource(name="anna/two", speaker="anna", video=raw / "anna" / "two.mp4"), detector)
    first, again = build_copy_output(real, detector).faces, build_copy_output(real, detector).faces
    assert first.valid.tolist() == [False] * 3 + [True] * 45
    assert (first.crops == again.crops).all()
    upper, lower = np.s_[3:, :40], np.s_[3:, 70:100]
    change = np.abs(first.crops.astype(int) - real.faces.crops)
    assert change[upper].mean() < 1 < change[lower].mean()
