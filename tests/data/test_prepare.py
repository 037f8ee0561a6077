"""A raw corpus of drawn-together photographs and drawn sound to shards and back."""

import errno
import inspect
import json
import multiprocessing
import os
import tarfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cals.cli import main
from cals.cli.prepare import prepare as command
from cals.data import prepare as preparing
from cals.data import segments
from cals.data.offset import MIN_CORRELATION, GroupOffset, compute_loudness, compute_offset_curve, estimate_group_offset
from cals.data.prepare import PrepareConfig, prepare
from cals.data.shards import Sample, read_shard, write_shard
from cals.data.sources import folder, grid
from cals.errors import ConfigError, DataError
from cals.face.align import CROP_SIZE_PX
from cals.face.landmarks import measure_mouth_opening
from cals.media.audio import load_mono
from talking_photo import write_talking_clip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_talking_clip(root / "anna" / "one.mp4", seed=1)
    write_talking_clip(root / "anna" / "two.mp4", seed=2, frames=70, gap=range(30, 34))
    (root / "anna" / "one.align").write_text("0 5000 sil\n5000 15000 bin\n15000 90000 blue\n")
    (root / "broken").mkdir()
    (root / "broken" / "text.mp4").write_text("no video")
    return root


def manifest(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_command_makes_whole_shards(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "shards"
    main(["prepare", "grid", str(corpus), "--out", str(out), "--workers", "1", "--min-correlation", "-1"])
    stdout = capsys.readouterr().out
    assert "dropped: 1 clips that cannot be read" in stdout
    assert "dropped: 4 frames without a face" in stdout
    assert sorted(p.name for p in out.iterdir()) == ["manifest.jsonl", "shard-00000.tar", "summary.json"]
    samples = list(read_shard(out / "shard-00000.tar"))
    assert [s.key for s in samples] == [line["key"] for line in manifest(out)]
    assert [s.facts["frames"] for s in samples] == [40, 30, 36]
    for sample in samples:
        frames = sample.facts["frames"]
        assert sample.wav.shape == (frames * 640,)
        assert sample.landmarks.shape == (frames, 468, 3)
        assert 64 < sample.landmarks[:, 13, 1].mean() < 100  # the mouth lies in the crop's lower half
    assert samples[0].facts["words"] == [[0.2, 0.6, "bin"]]  # the other one reaches beyond the clip
    (tmp_path / "crops.mp4").write_bytes(samples[0].crops)
    with av.open(str(tmp_path / "crops.mp4")) as container:
        crops = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.shape(crops) == (40, 128, 128, 3)


def test_a_constant_offset_is_corrected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "MIN_GROUP", 2)
    for i in range(3):
        write_talking_clip(tmp_path / "raw" / "late" / f"{i}.mp4", late=5, seed=i)
    summary = prepare(folder.list_clips(tmp_path / "raw"), tmp_path / "out", PrepareConfig(min_correlation=-1))
    assert abs(summary.offsets["late"].offset_frames - 5) <= 1
    shift = manifest(tmp_path / "out")[0]["offset_corrected_frames"]
    assert shift == summary.offsets["late"].offset_frames
    # Corrected sound has its peak where it belongs.
    sample = next(iter(read_shard(tmp_path / "out" / "shard-00000.tar")))
    opening = np.array([measure_mouth_opening(points) for points in sample.landmarks])
    curve = compute_offset_curve(opening, compute_loudness(sample.wav, 640, len(opening)))
    assert abs(estimate_group_offset([curve]).offset_frames) <= 1


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (7, [[[0.04, 0.28, "red"], [0.96, 1.16, "at"]], []]),  # "bin" is before the first frame
        (-7, [[[0.36, 0.52, "bin"], [0.6, 0.84, "red"]], [[0.16, 0.36, "at"]]]),
    ],
)
def test_words_and_real_sound_move_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int, words: list[object]
) -> None:
    offset = GroupOffset(offset_frames=shift, correlation=1.0, clips=1)
    monkeypatch.setattr(preparing, "estimate_group_offset", lambda *_: offset)
    video = tmp_path / "raw" / "anna" / "two.mp4"
    write_talking_clip(video, frames=70, gap=range(30, 34))
    video.with_suffix(".align").write_text("2000 6000 bin\n8000 14000 red\n31000 36000 at\n")
    prepare(grid.list_clips(tmp_path / "raw"), tmp_path / "out", PrepareConfig(min_correlation=-1))
    samples = list(read_shard(tmp_path / "out" / "shard-00000.tar"))
    assert [s.facts["words"] for s in samples] == words
    wav = np.pad(load_mono(video)[: 70 * 640], 10 * 640)
    for sample in samples:
        first = (10 + sample.facts["start_frame"] + shift) * 640
        # Beyond a stretch, but within the recording, there is sound; twice rounded to 16 bits.
        assert sample.wav == pytest.approx(wav[first : first + sample.facts["frames"] * 640], abs=4 / 32767)


def test_goes_on_where_it_stopped(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = folder.list_clips(corpus)
    config = PrepareConfig(min_correlation=-1)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(clips, tmp_path / "out", config, progress=stop)
    modified = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out" / "parts").glob("*.tar")}
    assert modified
    steps: list[int] = []
    monkeypatch.setattr(preparing.shutil, "rmtree", lambda *_, **__: None)
    summary = prepare(clips, tmp_path / "out", config, progress=lambda n, total: steps.append(n))
    assert len(steps) < len(clips)
    for name, stamp in modified.items():
        assert (tmp_path / "out" / "parts" / name).stat().st_mtime_ns == stamp
    assert summary.samples == 3


def test_parts_of_another_file_or_config_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(preparing.shutil, "rmtree", lambda *_, **__: None)
    out, video = tmp_path / "out", tmp_path / "raw" / "a.mp4"

    def is_prepared_again(config: PrepareConfig) -> bool:
        """Whether the clip is worked on again."""
        (out / "manifest.jsonl").unlink(missing_ok=True)
        steps: list[int] = []
        prepare(folder.list_clips(tmp_path / "raw"), out, config, progress=lambda n, total: steps.append(n))
        return bool(steps)

    def size() -> int:
        (sample,) = read_shard(out / "shard-00000.tar")
        return int(sample.landmarks[:, :, 1].max())

    write_talking_clip(video, frames=30)
    config = PrepareConfig(min_correlation=-1)
    small = PrepareConfig(min_correlation=-1, crop_px=64)
    assert is_prepared_again(config)
    assert not is_prepared_again(config)
    assert not is_prepared_again(PrepareConfig(min_correlation=-0.9))
    assert size() > 64
    assert is_prepared_again(small)
    assert size() < 64
    write_talking_clip(video, frames=35)
    assert is_prepared_again(small)
    assert manifest(out)[0]["frames"] == 35
    (out / "parts" / "a.json").write_text("{")
    assert is_prepared_again(small)
    # A clip that broke since must not leave its older samples behind.
    write_talking_clip(tmp_path / "raw" / "b.mp4", frames=30)
    assert is_prepared_again(small)
    assert len(manifest(out)) == 2
    video.write_text("broken")
    assert is_prepared_again(small)
    assert [line["clip"] for line in manifest(out)] == ["b"]


@pytest.mark.parametrize("where", ["/proc/x", "file/out"])
def test_a_folder_that_cannot_be_written_is_named(corpus: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="expected to write it, found .*; free some space, or choose another --out"):
        prepare(folder.list_clips(corpus), tmp_path / where, PrepareConfig())


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_are_counted_from_one(corpus: Path, tmp_path: Path, workers: int) -> None:
    with pytest.raises(ConfigError, match="workers: expected at least 1"):
        prepare(folder.list_clips(corpus), tmp_path / "out", PrepareConfig(), workers=workers)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="the patch must reach the worker")
def test_a_worker_that_is_killed_is_named(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "extract_samples", lambda *_: os._exit(9))
    with pytest.raises(DataError, match="found one killed.*fewer --workers"):
        prepare(folder.list_clips(corpus), tmp_path / "out", PrepareConfig())


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarfile.TarFile, "addfile", no_space)
    sample = Sample(key="a", crops=b"", wav=np.zeros(1, np.float32), landmarks=np.zeros((1, 468, 3)), facts={})
    with pytest.raises(DataError, match="shard.tar: .*found No space left on device; free some space"):
        write_shard(tmp_path / "shard.tar", [sample])
    assert not list(tmp_path.iterdir())


def test_a_full_temporary_folder_is_not_blamed_on_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments.VideoWriter, "__enter__", no_space)
    with pytest.raises(DataError, match="TMPDIR"):
        segments.encode_crops([np.zeros((64, 64, 3), np.uint8)], 25)


def test_sound_that_does_not_follow_the_lips_is_left_out(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dropped: .*sound does not follow the lips.*; give.*--min-correlation"):
        prepare(folder.list_clips(corpus), tmp_path / "out", PrepareConfig(min_correlation=1.01))


def test_prepared_folders_are_kept(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="not prepared yet"):
        prepare([], tmp_path, PrepareConfig())


def test_sources_explain_themselves(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none; name another"):
        folder.list_clips(tmp_path / "nowhere")
    with pytest.raises(DataError, match="found none below it; name another"):
        folder.list_clips(tmp_path)
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.align").write_text("0 5000\n")
    with pytest.raises(DataError, match="a.align:1.*; correct"):
        grid.list_clips(tmp_path)
    (tmp_path / "a.align").write_text("0 25000 now\n")
    words = grid.list_clips(tmp_path)[0].words
    assert words == ((Fraction(0), Fraction(1), "now"),)


def test_damaged_shards_are_named(corpus: Path, tmp_path: Path) -> None:
    prepare(folder.list_clips(corpus), tmp_path / "out", PrepareConfig(min_correlation=-1))
    shard = tmp_path / "out" / "shard-00000.tar"
    shard.write_bytes(shard.read_bytes()[:50_000])
    with pytest.raises(DataError, match="shard-00000.tar"):
        list(read_shard(shard))


def test_defaults_stand_in_one_place() -> None:
    option = inspect.signature(command).parameters["min_correlation"].default
    assert option is MIN_CORRELATION
    assert PrepareConfig().min_correlation is MIN_CORRELATION
    assert PrepareConfig().crop_px is CROP_SIZE_PX
