"""`cals corrupt` from end to end: what is corrupted, what stays, what is said of it, and when nothing is written."""

import json
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cals.cli import main
from cals.data.corruption.bursts import draw_corruption, parse_corruption
from cals.data.corruption.config import TESTING, choose_config
from cals.inference.corrupt import corrupt_video
from cals.media.audio import load_mono
from cals.media.reader import VideoReader
from cals.media.sound import AudioSource
from cals.types import F32, U8
from drawing import tones, write_video, write_wav
from talking_photo import FRAMES, PHOTO, write_talking_clip

pytestmark = pytest.mark.slow

GAP = range(24, 30)
MOUTH = np.s_[128:164, 140:180]
"""Inside the square around the mouth of the photo."""


def find_seed_over_gap() -> int:
    """Find the first seed with a burst of pictures over frames without a face, and others."""
    for seed in range(100):
        truth = draw_corruption(np.random.default_rng(seed), FRAMES, TESTING).truth["video"]
        if truth[GAP].any() and truth[: GAP.start].any() and not truth.all():
            return seed
    raise AssertionError("no seed has a burst over the gap")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    write_talking_clip(path, gap=GAP)
    return path


@pytest.fixture(scope="module")
def corrupted(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corrupted") / "out.mp4"
    main(["corrupt", str(clip), str(out), "--seed", str(find_seed_over_gap())])
    return out


def read_frames(path: Path) -> tuple[list[U8], list[tuple[Fraction, Fraction]]]:
    with VideoReader(path) as reader:
        items = [(frame.rgb(), (frame.time_s, frame.duration_s)) for frame in reader]
    return [rgb for rgb, _ in items], [times for _, times in items]


def read_truth(out: Path) -> dict[str, Any]:
    return json.loads(out.with_suffix(".truth.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_mouths_are_corrupted_where_the_truth_says_and_all_else_stays(clip: Path, corrupted: Path) -> None:
    (before, times), (after, times_after) = read_frames(clip), read_frames(corrupted)
    assert times == times_after
    document = read_truth(corrupted)
    corruption = parse_corruption(document["corruption"])
    assert corruption == draw_corruption(np.random.default_rng(find_seed_over_gap()), FRAMES, TESTING)
    mask = [record["video"] for record in document["per_frame"]]
    assert mask == [bool(in_burst) and i not in GAP for i, in_burst in enumerate(corruption.truth["video"])]
    assert [record["face"] for record in document["per_frame"]] == [i not in GAP for i in range(FRAMES)]
    assert [record["time_s"] for record in document["per_frame"]] == [i / 25 for i in range(FRAMES)]
    for one, other, is_corrupted in zip(before, after, mask, strict=True):
        change = np.abs(one.astype(int) - other).mean(axis=2)
        assert (change[MOUTH].mean() > 3) == is_corrupted
        change[100:220, 90:230] = 0  # the square of the mouth, and what an occluder may reach
        assert change.mean() < 2.5  # of an encoder


def test_sound_is_corrupted_where_the_truth_says_and_stays_in_step(clip: Path, corrupted: Path) -> None:
    document = read_truth(corrupted)
    before, after = load_mono(clip), load_mono(corrupted) * 10 ** (-document["sound_gain_db"] / 20)
    assert len(after) == len(before)
    change = [float(np.sum(part**2)) for part in np.split((after - before)[: 640 * FRAMES], FRAMES)]
    mask = np.array([record["audio"] for record in document["per_frame"]])
    assert mask.tolist() == parse_corruption(document["corruption"]).truth["audio"].tolist()
    edges = np.convolve(mask, np.ones(3), "same") % 3 != 0  # a codec smears a little
    speech = float(np.mean(before**2)) * 640
    assert max(np.array(change)[~mask & ~edges]) < 0.01 * speech
    noises = [burst for burst in parse_corruption(document["corruption"]).audio if burst.kind != "dropout"]
    for burst in noises:
        level_db = 10 * np.log10(speech / np.mean(change[burst.start : burst.end]))
        assert level_db == pytest.approx(burst.strength, abs=0.5)


def test_the_same_seed_is_the_same_list(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        out = tmp_path / f"{name}.mp4"
        main(["corrupt", str(clip), str(out), "--seed", str(seed), "--streams", "audio"])
        lists.append(read_truth(out))
        assert f"of {FRAMES} frames the mouth is corrupted in 0, the sound in" in capsys.readouterr().out
    assert lists[0] == lists[1]
    assert lists[0] != lists[2]
    assert {record["face"] for record in lists[0]["per_frame"]} == {None}
    assert [np.array_equal(load_mono(tmp_path / "a.mp4"), load_mono(tmp_path / f"{name}.mp4")) for name in "bc"] == [
        True,
        False,
    ]


def corrupt_sound(path: Path, out: Path, kind: str, snr_db: float, **options: Any) -> dict[str, Any]:
    config = choose_config("audio", (kind,), (snr_db,))
    corrupt_video(path, out, truth=out.with_suffix(".truth.json"), config=config, **options)
    return read_truth(out)


def compute_noise(path: Path, out: Path, document: dict[str, Any]) -> tuple[F32, list[tuple[int, int]]]:
    """Compute the noise added to the mono sound at 48 kHz, and return the sample ranges of its bursts."""
    before, after = load_mono(path, 48_000), load_mono(out, 48_000)
    change = after[: len(before)] - before  # Matroska does not say what a codec padded
    bursts = parse_corruption(document["corruption"]).audio
    return change, [(burst.start * 1920, burst.end * 1920) for burst in bursts]


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rate_and_channels_stay_and_the_ratio_is_that_of_the_mono_mix(tmp_path: Path, channels: int) -> None:
    path, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    sound = 0.3 * tones(2.0, 48_000, channels)
    write_video(path, frames=50, sound=sound, sound_codec="flac")
    document = corrupt_sound(path, out, "pink", 3.0)
    with closing(AudioSource(out)) as source:
        assert (source.rate_hz, len(source.channel_names)) == (48_000, channels)
    change, spans = compute_noise(path, out, document)
    speech = float(np.mean(load_mono(path, 48_000) ** 2))
    for start, end in spans:
        assert 10 * np.log10(speech / np.mean(change[start:end] ** 2)) == pytest.approx(3, abs=0.5)


def test_beyond_full_scale_all_is_turned_down_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, out = tmp_path / "in.mkv", tmp_path / "out.mp4"
    write_video(path, frames=50, sound=1.9 * tones(2.0, 48_000), sound_codec="flac")
    gain_db = corrupt_sound(path, out, "white", -5.0)["sound_gain_db"]
    assert gain_db < -3
    assert f"{-gain_db:.1f} dB softer" in caplog.text
    assert np.abs(load_mono(out, 48_000)).max() <= 1.05  # of which a codec adds some


def test_others_babble(tmp_path: Path) -> None:
    path, folder = tmp_path / "in.mp4", tmp_path / "others"
    folder.mkdir()
    write_video(path, frames=50, sound=0.3 * tones(2.0, 48_000))
    (folder / "notes.txt").write_text("no sound")
    rng = np.random.default_rng(0)
    write_wav(folder / "a.wav", rng.normal(0, 0.1, 32_000).astype(np.float32))
    folders = {"own": None, "others": folder}
    documents = {
        name: corrupt_sound(path, tmp_path / f"{name}.mp4", "babble", 0.0, babble=where)
        for name, where in folders.items()
    }
    assert {name: document["babble"] for name, document in documents.items()} == {"own": "own", "others": "others"}
    flat = {}
    for name, document in documents.items():
        change, spans = compute_noise(path, tmp_path / f"{name}.mp4", document)
        spectrum = np.abs(np.fft.rfft(change[slice(*spans[0])])) ** 2
        hz = np.fft.rfftfreq(spans[0][1] - spans[0][0], 1 / 48_000)
        flat[name] = spectrum[(hz > 2000) & (hz < 7000)].sum() / spectrum.sum()
    assert flat["others"] > 0.4  # the other clip is noise, this one's tones are below
    assert flat["own"] < 0.1


def test_a_steady_square_follows_the_head(tmp_path: Path) -> None:
    path, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_talking_clip(path, frames=30, silent=True)
    main(["corrupt", str(path), str(out), "--streams", "video", "--kind", "noise", "--seed", "1"])
    before, after = read_frames(path)[0], read_frames(out)[0]
    mask = [record["video"] for record in read_truth(out)["per_frame"]]
    assert any(mask)
    centres = []
    for one, other, is_corrupted in zip(before, after, mask, strict=True):
        if is_corrupted:
            changed = np.abs(one.astype(int) - other).mean(axis=2) > 12
            centres.append([float(axis[changed].mean()) for axis in np.mgrid[0:320, 0:320]])
    assert np.abs(np.mean(centres, axis=0) - (146, 160)).max() < 8
    assert np.std(centres, axis=0).max() < 1.5


def test_sound_that_goes_on_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_video(tmp_path / "long.mp4", frames=6, sound=0.1 * tones(1.0, 48_000))
    corrupt_video(path, tmp_path / "out.mp4", truth=tmp_path / "truth.json", config=replace(TESTING, streams="audio"))
    assert any("its sound goes on for 0.7" in line or "its sound goes on for 0.8" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{nobody}", "{out}"], "expected a face, found none"),
        (["{mute}", "{out}"], "expected sound to corrupt, found none; use --streams video"),
        (["{photo}", "{out}"], "expected a video, found a picture"),
        (["{nobody}", "{out}", "--kind", "pach"], "found 'pach'; did you mean patch?"),
        (["{nobody}", "{out}", "--streams", "video", "--kind", "babble"], "for streams 'video', found babble"),
        (["{nobody}", "{out}", "--snr-db", "1", "2", "3"], "expected one number or the lowest and the highest"),
        (["{nobody}", "{out}", "--seed", "-1"], "seed: expected 0 or more"),
        (["{nobody}", "{out}", "--streams", "audio", "--babble", "{empty}"], "found none that has sound"),
        (["{nobody}", "{out}", "--streams", "audio", "--babble", "{none}"], "expected a folder of speech"),
        (["{nobody}", "{taken}"], "expected a new file, found an existing one"),
        (["{nobody}", "{out}", "--truth", "{taken}"], "expected a new file, found an existing one"),
        (["{nobody}", "{out}", "--streams", "video", "--babble", "{empty}"], "expected none where the sound is left"),
        (["{nobody}", "{nobody}", "--force"], "expected a file of its own"),
        (["{nobody}", "{out}", "--truth", "{out}"], "expected a file of its own"),
        (["{nobody}", "{none}.avi"], "expected a name ending in"),
    ],
)
def test_one_clear_line_and_nothing_written(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {name: tmp_path / name for name in ("nobody.mp4", "mute.mp4", "taken.mp4", "empty", "none", "out.mp4")}
    write_video(names["nobody.mp4"], frames=6, sound=0.1 * tones(0.24, 48_000))
    write_video(names["mute.mp4"], frames=6)
    names["taken.mp4"].write_bytes(b"mine")
    names["empty"].mkdir()
    paths = {path.stem: str(path) for path in names.values()} | {"photo": str(PHOTO)}
    times_ns = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as end:
        main(["corrupt", *(argument.format(**paths) for argument in arguments)])
    error = capsys.readouterr().err
    assert end.value.code == 1
    assert message in error
    assert error.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times_ns
