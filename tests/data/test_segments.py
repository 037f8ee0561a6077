"""Clips that are a segment and a region of a video, or have separate sound or text, to samples."""

import json
from pathlib import Path

import numpy as np
import pytest

from cals.data.prepare import PrepareConfig, Summary, prepare
from cals.data.shards import Sample, read_shard
from cals.data.sources import hdtf, lombard, lrw
from cals.face.landmarks import measure_mouth_opening
from cals.media.audio import load_mono
from drawing import tones, write_wav
from talking_photo import write_talking_clip

pytestmark = pytest.mark.slow

SEGMENTS = "Radio1.mp4 00:01-00:03 00:03-00:30 00:09-00:20 00:01-00:02 00:01-00:03\n"
CROPS = """Radio1_0.mp4 720 720 0 720
Radio1_1.mp4 720 720 0 720
Radio1_2.mp4 720 720 0 720
Radio1_3.mp4 3000 100 0 100
Radio1_4.mp4 0 720 0 720
"""
"""The right one of two faces, twice; a segment after the end of the video; a crop outside it; the left face."""


@pytest.fixture(scope="module")
def hdtf_corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Summary]:
    """A drawn HDTF of one video, where it is prepared, and its summary."""
    root = tmp_path_factory.mktemp("hdtf")
    write_talking_clip(root / "Radio1.mp4", seed=3, frames=110, beside=True)
    (root / "RD_annotion_time.txt").write_text(SEGMENTS)
    (root / "RD_crop_wh.txt").write_text(CROPS)
    (root / "RD_resolution.txt").write_text("Radio1.mp4 720\n")
    sources = hdtf.read_corpus(root)
    config = PrepareConfig(min_correlation=-1)
    summary = prepare(sources.clips, root / "out", config, dropped=sources.dropped, splits=sources.splits)
    return root / "Radio1.mp4", root / "out", summary


def samples(out: Path) -> dict[str, Sample]:
    return {sample.facts["clip"]: sample for sample in read_shard(out / "shard-00000.tar")}


def openings(sample: Sample) -> np.ndarray:
    return np.array([measure_mouth_opening(points) for points in sample.landmarks.astype(np.float32)])


def test_a_segment_has_its_own_frames_and_sound(hdtf_corpus: tuple[Path, Path, Summary]) -> None:
    video, out, _ = hdtf_corpus
    sample_of, wav = samples(out), load_mono(video)
    for clip, first, frames in (("Radio1/0", 25, 50), ("Radio1/1", 75, 35)):
        sample = sample_of[clip]
        assert (sample.facts["start_frame"], sample.facts["frames"]) == (0, frames)
        expected = wav[first * 640 : (first + frames) * 640]
        assert sample.wav == pytest.approx(np.pad(expected, (0, frames * 640 - len(expected))), abs=4 / 32767)
        assert sample.facts["sync_correlation"] > 0.5  # the mouth opens with this very sound
        later = np.corrcoef(openings(sample)[:-5], openings(sample)[5:])[0, 1]
        assert later < 0.5  # and would not with that of other frames


def test_the_crop_chooses_the_face(hdtf_corpus: tuple[Path, Path, Summary]) -> None:
    sample_of = samples(hdtf_corpus[1])
    assert openings(sample_of["Radio1/0"]).std() > 4 * openings(sample_of["Radio1/4"]).std()


def test_missing_segments_are_counted(hdtf_corpus: tuple[Path, Path, Summary]) -> None:
    _, out, summary = hdtf_corpus
    assert set(samples(out)) == {"Radio1/0", "Radio1/1", "Radio1/4"}
    beyond, outside = "clips beyond the end of their video", "clips whose crop lies outside the picture"
    assert summary.dropped == {beyond: 1, outside: 1}
    assert json.loads((out / "summary.json").read_text())["dropped"] == summary.dropped


def test_the_written_parts_name_usable_clips(hdtf_corpus: tuple[Path, Path, Summary]) -> None:
    parts = json.loads((hdtf_corpus[1] / "splits.json").read_text())
    assert sorted(name for names in parts.values() for name in names) == ["Radio1/0", "Radio1/1", "Radio1/4"]
    assert len(parts) == 1  # of one video


def test_sound_in_a_file_of_its_own(tmp_path: Path) -> None:
    name = "s2_l_bbim3a"
    video = tmp_path / "lombardgrid" / "front" / f"{name}.mov"
    write_talking_clip(video, frames=30, silent=True)
    (tmp_path / "lombardgrid" / "audio").mkdir()
    sound = tones(1.2, 16_000)
    write_wav(tmp_path / "lombardgrid" / "audio" / f"{name}.wav", sound)
    write_talking_clip(video.with_name("s3_l_bbim3a.mov"), frames=30, silent=True)
    summary = prepare(lombard.read_corpus(tmp_path).clips, tmp_path / "out", PrepareConfig(min_correlation=-1))
    assert summary.dropped == {"clips without sound": 1}
    (sample,) = samples(tmp_path / "out").values()
    assert sample.wav == pytest.approx(sound[0, : 30 * 640], abs=4 / 32767)
    assert sample.facts["text"] == "bin blue in m three again"
    assert sample.facts["words"] is None


def test_words_of_lrw(tmp_path: Path) -> None:
    for part, frames in (("train", 29), ("val", 29), ("test", 20)):
        path = tmp_path / "lipread_mp4" / "ABOUT" / part / "ABOUT_00001.mp4"
        write_talking_clip(path, frames=frames)
        path.with_suffix(".txt").write_text("Channel: BBC\nDuration: 0.36 seconds\n")
    sources = lrw.read_corpus(tmp_path)
    config = PrepareConfig(min_correlation=-1)
    summary = prepare(sources.clips, tmp_path / "out", config, dropped=sources.dropped, splits=sources.splits)
    assert summary.dropped == {"frames in stretches under 25": 20}
    for sample in samples(tmp_path / "out").values():
        assert sample.facts["frames"] == 29
        assert sample.facts["words"] == [[0.4, 0.76, "about"]]
        assert sample.facts["text"] == "about"
    parts = json.loads((tmp_path / "out" / "splits.json").read_text())
    assert parts == {"train": ["ABOUT/train/ABOUT_00001"], "val_seen": ["ABOUT/val/ABOUT_00001"]}
