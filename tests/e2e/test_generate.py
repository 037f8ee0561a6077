"""The main job from end to end, as a user runs it, with the model that ships."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from cals import CheckpointError, ConfigError, LipSync, MediaError, NoFaceError, load_model
from cals.cli import main
from cals.inference.frame_tracker import TrackedFrame
from cals.inference.mouth_bank import MouthBank
from cals.inference.mouth_painter import MouthPainter
from cals.media.audio import load_mono
from cals.media.reader import VideoReader
from cals.provenance.manifest import hash_file
from cals.provenance.verify import verify_file
from drawing import read_without_manifest, write_tracks, write_wav

EXAMPLES = Path(__file__).parents[2] / "examples"
FACE, SPEECH = EXAMPLES / "astronaut.jpg", EXAMPLES / "speech.wav"


@pytest.fixture(scope="module")
def lips() -> LipSync:
    return LipSync()


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo made to speak, through the command line, into a path with spaces and accents."""
    out = tmp_path_factory.mktemp("ein Ordner mit Müll") / "sprich, Freund.mp4"
    main(["generate", "--face", str(FACE), "--audio", str(SPEECH), "--out", str(out)])
    return out


def read_times_s(path: Path) -> list[Fraction]:
    with VideoReader(path) as reader:
        return [frame.time_s for frame in reader]


def test_photo_speaks_for_as_long_as_the_speech(talking: Path) -> None:
    sound = load_mono(SPEECH)
    assert read_times_s(talking) == [Fraction(i, 25) for i in range(-(-len(sound) // 640))]
    output_sound = load_mono(talking)[: len(sound)]
    assert np.corrcoef(output_sound, sound[: len(output_sound)])[0, 1] > 0.98
    assert [p.name for p in talking.parent.iterdir()] == [talking.name]


def test_only_the_mouth_region_changes_and_it_does(talking: Path) -> None:
    with VideoReader(FACE) as photo, VideoReader(talking) as video:
        before = next(photo).rgb().astype(int)
        pictures = [next(video).rgb().astype(int) for _ in range(30)]
    change = np.abs(pictures[20] - before).mean(-1)
    assert change[:, 300:].mean() < 2  # background: only the encoder's own loss
    assert change[135:175, 205:245].mean() > 5  # a random mouth is no mouth
    assert np.abs(pictures[29] - pictures[3])[135:175, 205:245].mean() > 0.3  # and it follows the sound


def test_provenance_is_on_by_default(talking: Path, tmp_path: Path, lips: LipSync) -> None:
    with av.open(str(talking)) as container:
        assert "compositeWithTrainedAlgorithmicMedia" in container.metadata["comment"]
    result = verify_file(talking)
    assert (result.state, result.trust) == ("intact", "own")
    assert result.generation["model"] == "grid-small"
    assert [item["sha256"] for item in result.generation["inputs"]] == [hash_file(FACE), hash_file(SPEECH)]
    lips.generate(FACE, SPEECH, tmp_path / "bare.mp4", provenance=False)
    with av.open(str(tmp_path / "bare.mp4")) as container:
        assert "comment" not in container.metadata
    assert verify_file(tmp_path / "bare.mp4").state == "none"


def test_report_and_closing_line(talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "--face", str(talking), "--audio", str(SPEECH), "--outfile", str(tmp_path / "o.mov")]
    main([*arguments, "--report", str(tmp_path / "r.json")])
    line = capsys.readouterr().out
    document = json.loads((tmp_path / "r.json").read_text())
    assert f"{document['generated']} frames generated, 0 passed through" in line
    assert "times real time" in line
    assert document["frames"] == len(document["per_frame"]) == len(read_times_s(talking))
    assert document["per_frame"][-1] == {
        "index": document["frames"] - 1,
        "time_s": pytest.approx((document["frames"] - 1) / 25),
        "status": "generated",
        "strength": 1.0,
        "track": 0,
        "face_score": pytest.approx(1.0, abs=0.1),
    }


def video_with_gap(path: Path, rate: Fraction, gap: range, frames: int) -> None:
    """Write a video of the drifting photo, with grey frames in `gap`."""
    with VideoReader(FACE) as photo:
        picture = next(photo).rgb()[:320, :400]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = 400, 320, "yuv420p"
        for i in range(frames):
            image = np.full_like(picture, 90) if i in gap else np.roll(picture, i // 4, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")))
        container.mux(stream.encode(None))


def test_frames_without_a_face_pass_through(tmp_path: Path, lips: LipSync) -> None:
    video_with_gap(tmp_path / "gap.mp4", Fraction(30000, 1001), range(30, 40), 70)
    report = lips.generate(
        tmp_path / "gap.mp4", SPEECH, tmp_path / "out.mp4", length="video", report=tmp_path / "r.json"
    )
    assert report.counts == {"generated": 60, "no face": 10}
    assert report.per_frame is not None
    assert [f["index"] for f in report.per_frame if f["status"] == "no face"] == list(range(30, 40))
    assert read_times_s(tmp_path / "out.mp4") == read_times_s(tmp_path / "gap.mp4")


def test_the_look_ahead_numbers_people_as_the_job_does(
    tmp_path: Path, lips: LipSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    video_with_gap(tmp_path / "gap.mp4", Fraction(25), range(10, 30), 50)
    all_banks: list[dict[int, MouthBank]] = []
    build_banks = MouthPainter._build_banks

    def spy(painter: MouthPainter, ahead: Iterable[TrackedFrame]) -> dict[int, MouthBank]:
        banks = build_banks(painter, ahead)
        all_banks.append(dict(banks))
        return banks

    monkeypatch.setattr(MouthPainter, "_build_banks", spy)
    lip_frames = list(lips.frames(tmp_path / "gap.mp4", SPEECH, length="video"))
    tracks = {frame.face.track for frame in lip_frames if frame.face.valid}
    assert len(tracks) == 2
    assert set(all_banks[0]) == tracks
    for track, bank in all_banks[0].items():
        times_s = [float(frame.face.time_s) for frame in lip_frames if frame.face.valid and frame.face.track == track]
        assert bank._arrays.times_s.tolist() == pytest.approx(times_s)
    list(islice(lips.frames(FACE, SPEECH), 2))
    assert all_banks[1] == {}  # of a photo there is no more to know


def test_iterator_stops_early_and_cleanly(lips: LipSync) -> None:
    frames = lips.frames(FACE, SPEECH)
    first = next(frames)
    assert first.frame.rgb().shape == (512, 512, 3)
    assert first.status == "generated"
    frames.close()


def test_silence_is_valid_speech(tmp_path: Path, lips: LipSync) -> None:
    with av.open(str(tmp_path / "quiet.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert lips.generate(FACE, tmp_path / "quiet.wav", tmp_path / "out.mp4").frames == 25


def test_a_landscape_has_no_face(tmp_path: Path, lips: LipSync) -> None:
    video_with_gap(tmp_path / "grey.mp4", Fraction(25), range(20), 20)
    with pytest.raises(NoFaceError, match="found none in any frame"):
        lips.generate(tmp_path / "grey.mp4", SPEECH, tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["grey.mp4"]


def run_failing(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.mp4", None, "missing.mp4"),
        ("text.mp4", b"this is no video\n" * 50, "text.mp4"),
        ("empty.mp4", b"", "empty.mp4"),
        ("broken.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "broken.png"),
    ],
)
def test_bad_faces(
    name: str, content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    message = run_failing(
        ["generate", "--face", str(tmp_path / name), "--audio", str(SPEECH), "--out", str(tmp_path / "o.mp4")], capsys
    )
    assert message.count("\n") == 1
    assert words in message
    assert "expected" in message
    assert "found" in message
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--audio", str(FACE)], "sound"),
        (["--model", "debg"], "did you mean 'debug'"),
        (["--person", "the tall one"], "largest"),
        (["--face-models", "nowhere"], "nowhere"),
        (["--batch", "0"], "batch"),
        (["--report", "no such folder/r.json"], "no such folder"),
        (["--codec", "no-such-codec"], "no-such-codec"),
        (["--crf", "999"], "crf"),
        (["--device", "warp-drive"], "warp-drive"),
        pytest.param(
            ["--device", "cuda"], "cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has one")
        ),
    ],
)
def test_bad_options(extra: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"--face": str(FACE), "--audio": str(SPEECH), "--out": str(tmp_path / "o.mp4")}
    options |= dict(zip(extra[::2], extra[1::2], strict=True))
    message = run_failing(["generate", *(part for pair in options.items() for part in pair)], capsys)
    assert words in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_speech(talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wave.open(str(tmp_path / "nothing.wav"), "wb") as empty:
        empty.setparams((1, 2, 16000, 0, "NONE", ""))
    broken = np.zeros((1, 8000), np.float32)
    broken[0, 4000] = np.nan
    write_wav(tmp_path / "nan.wav", broken, codec="pcm_f32le")
    video_with_gap(tmp_path / "mute.mp4", Fraction(25), range(0), 10)
    (tmp_path / "half.mp4").write_bytes(talking.read_bytes()[: talking.stat().st_size // 2])
    broken[0, 4000] = 1e30
    write_wav(tmp_path / "huge.wav", broken)
    before = sorted(tmp_path.iterdir())
    for name, words in [
        ("huge.wav", "huge.wav: expected sound with a full scale of 1"),
        ("nothing.wav", "no length"),
        ("nan.wav", "NaN"),
        ("mute.mp4", "sound"),
        ("half.mp4", "half.mp4"),
    ]:
        message = run_failing(
            ["generate", "--face", str(FACE), "--audio", str(tmp_path / name), "--out", str(tmp_path / "o.mp4")], capsys
        )
        assert words in message
        assert message.count("\n") == 1
        assert sorted(tmp_path.iterdir()) == before


def test_a_cut_short_video_needs_keep_going(
    talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    half, out = tmp_path / "half.mp4", tmp_path / "o.mp4"
    data = talking.read_bytes()  # its index stands in front, so half of it opens
    half.write_bytes(data[: len(data) // 2])
    arguments = ["generate", "--face", str(half), "--audio", str(SPEECH), "--out", str(out), "--length", "video"]
    assert "--keep-going" in run_failing(arguments, capsys)
    assert not out.exists()
    main([*arguments, "--keep-going"])
    assert [record.message.count("half.mp4") for record in caplog.records] == [1]  # said once, though read twice
    assert 20 < len(read_times_s(out)) < len(read_times_s(talking))


def test_a_cut_short_speech_needs_keep_going(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    half, out = tmp_path / "half.wav", tmp_path / "o.mp4"
    data = SPEECH.read_bytes()
    half.write_bytes(data[: len(data) // 2])
    arguments = ["generate", "--face", str(FACE), "--audio", str(half), "--out", str(out)]
    message = run_failing(arguments, capsys)
    assert "has to last 6.72 s by its header at 3.36 s" in message
    assert not out.exists()
    main([*arguments, "--keep-going"])
    assert [record.message.count("6.72 s") for record in caplog.records] == [1]  # said once, though read often
    assert len(read_times_s(out)) == 84


def test_further_sound_tracks_come_along(talking: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film = tmp_path / "film.mkv"
    with av.open(str(talking)) as source, av.open(str(film), "w") as container:
        sound = source.streams.audio[0]
        streams = [container.add_stream_from_template(source.streams.video[0], opaque=True)]
        streams += [container.add_stream_from_template(sound) for _ in range(2)]
        for packet in source.demux(source.streams.video[0], sound):
            for stream in () if not packet.size else streams[1:] if packet.stream is sound else streams[:1]:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
                copy.time_base, copy.stream, copy.is_keyframe = packet.time_base, stream, packet.is_keyframe
                container.mux(copy)
    arguments = ["generate", "--face", str(film), "--audio", str(SPEECH), "--out", str(tmp_path / "o.mkv"), "--force"]
    for option, count in (("--keep-tracks", 2), ("--no-keep-tracks", 1)):
        main([*arguments, option])
        with av.open(str(tmp_path / "o.mkv")) as container:
            assert len(container.streams.audio) == count
            assert len(container.streams) == count + 1
    assert not caplog.records


def test_a_choppy_video_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video_with_gap(tmp_path / "slow.mp4", Fraction(8), range(0), 8)
    arguments = ["generate", "--face", str(tmp_path / "slow.mp4"), "--audio", str(SPEECH), "--length", "video"]
    main([*arguments, "--out", str(tmp_path / "o.mp4")])
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'slow.mp4'}: 8 frames/s; lips need 10 or more to be read"
    ]


def test_the_sound_track_asked_for_drives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    speech = load_mono(SPEECH, 48_000)[None, :48_000]
    both = write_tracks(tmp_path / "both.mkv", [(0 * speech, {"language": "zxx"}), (speech, {"language": "eng"})])
    arguments = ["generate", "--face", str(FACE), "--audio", str(both), "--out", str(tmp_path / "o.mp4"), "--force"]
    main(arguments)
    assert [record.message.count("2 sound tracks") for record in caplog.records] == [1, 0]
    assert "no speech was found" in caplog.records[1].message
    assert np.abs(load_mono(tmp_path / "o.mp4")).max() < 0.01
    main([*arguments, "--audio-track", "eng"])
    assert len(caplog.records) == 2
    assert np.abs(load_mono(tmp_path / "o.mp4")).max() > 0.1
    capsys.readouterr()
    assert "expected a number or a language" in run_failing([*arguments, "--audio-track", "3"], capsys)


def test_tiny_and_deep_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str], lips: LipSync) -> None:
    cv2.imwrite(str(tmp_path / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    message = run_failing(
        ["generate", "--face", str(tmp_path / "dot.png"), "--audio", str(SPEECH), "--out", str(tmp_path / "o.mp4")],
        capsys,
    )
    assert "expected a face" in message
    cv2.imwrite(str(tmp_path / "deep.png"), cv2.imread(str(FACE)).astype(np.uint16) * 257)
    assert lips.generate(tmp_path / "deep.png", SPEECH, tmp_path / "deep.mp4").generated > 100


def test_existing_output_is_kept(talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.mp4"
    out.write_bytes(b"precious")
    message = run_failing(["generate", "--face", str(FACE), "--audio", str(SPEECH), "--out", str(out)], capsys)
    assert "--force" in message
    assert out.read_bytes() == b"precious"
    message_same = run_failing(
        ["generate", "--face", str(talking), "--audio", str(SPEECH), "--out", str(talking), "--force"], capsys
    )
    assert "input" in message_same
    assert len(read_times_s(talking)) > 100


def test_wrong_usage_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["generate", "--face", str(FACE)])
    assert stopped.value.code == 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_leaves_nothing(how: signal.Signals, tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    with av.open(str(long), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * 600), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    # A test runner may have told its children to ignore Ctrl-C; a terminal does not.
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    code += "signal.signal(signal.SIGINT, signal.default_int_handler); from cals.cli import main; main()"
    command = [sys.executable, "-c", code, "generate"]
    command += ["--face", str(FACE), "--audio", str(long), "--out", str(tmp_path / "out.mp4")]
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for _ in range(600):
        if any(p.stat().st_size > 0 for p in tmp_path.glob(".out.mp4*")) or job.poll() is not None:
            break
        time.sleep(0.1)
    job.send_signal(how)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "no unfinished file was left" in errors
    assert [p.name for p in tmp_path.iterdir()] == ["long.wav"]


def test_several_jobs_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from cals.cli import main; main()", "generate"]
    command += ["--face", str(FACE), "--audio", str(SPEECH), "--out"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    jobs = [subprocess.Popen([*command, str(tmp_path / f"{i}.mp4")], env=env) for i in range(2)]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0]
    assert read_without_manifest(tmp_path / "0.mp4") == read_without_manifest(tmp_path / "1.mp4")
    assert [verify_file(tmp_path / f"{i}.mp4").trust for i in range(2)] == ["own", "own"]  # one key for both


def test_track_command(talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "t.track.json"
    main(["track", str(talking), "--out", str(out)])
    document = json.loads(out.read_text())
    assert len(document["frames"]) == len(read_times_s(talking))
    assert all(len(f["landmarks"]) == 468 for f in document["frames"] if f["valid"])
    assert "a face in" in capsys.readouterr().out
    with VideoReader(out.with_suffix(".png")) as sheet:
        assert next(sheet).width > 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.track.json", "t.track.png"]


def test_an_error_is_one_line_on_stderr(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from cals.cli import main; main()", "generate", "--face", str(FACE)]
    command += ["--audio", str(FACE), "--out", str(tmp_path / "o.mp4")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1


def test_force_never_reaches_the_inputs(talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "p.png"
    cv2.imwrite(str(photo), cv2.imread(str(FACE)))
    before = photo.read_bytes()
    message = run_failing(["track", str(photo), "--out", str(tmp_path / "p.json"), "--force"], capsys)
    assert "of its own" in message
    arguments = ["generate", "--face", str(photo), "--audio", str(SPEECH), "--out", str(tmp_path / "o.mp4"), "--force"]
    run_failing([*arguments, "--report", str(photo)], capsys)
    run_failing([*arguments, "--report", str(tmp_path / "o.mp4")], capsys)
    assert photo.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


def test_a_person_who_is_not_there(tmp_path: Path, lips: LipSync) -> None:
    with pytest.raises(NoFaceError, match="expected the person '3', found at most 1 face"):
        lips.generate(FACE, SPEECH, tmp_path / "o.mp4", person="3")


def test_missing_files_are_media_errors_in_python_too(tmp_path: Path, lips: LipSync) -> None:
    with pytest.raises(MediaError, match="nowhere"):
        next(lips.frames(tmp_path / "nowhere.mp4", SPEECH))
    with pytest.raises(MediaError, match="nowhere"):
        next(lips.frames(FACE, tmp_path / "nowhere.wav"))


def test_nothing_stays_open_after_an_error(talking: Path, lips: LipSync, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken network")

    monkeypatch.setattr("cals.inference.mouth_blend.transfer_pixels", broken)
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="broken network") as caught:
        list(lips.frames(talking, SPEECH))
    assert caught.value is not None  # the exception, and its frames, are still alive here
    # Readers that other tests left to the garbage collector are not this test's business.
    assert [t.name for t in set(threading.enumerate()) - before if t.name.startswith("cals-")] == []


def test_a_folder_named_like_a_model_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "debug").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model("debug").name == "debug"
    with pytest.raises(CheckpointError, match="expected a checkpoint"):
        load_model("./debug")


def test_a_moment_after_the_end_is_refused(talking: Path, tmp_path: Path, lips: LipSync) -> None:
    with pytest.raises(ConfigError, match=r"expected a time within .* \(6.72 s\), found 99 s"):
        lips.generate(talking, SPEECH, tmp_path / "o.mp4", person="220,150@99")


def test_a_report_that_is_a_folder_stops_the_job_before_it_starts(tmp_path: Path, lips: LipSync) -> None:
    (tmp_path / "r").mkdir()
    with pytest.raises(MediaError, match="found a directory"):
        lips.generate(FACE, SPEECH, tmp_path / "o.mp4", report=tmp_path / "r", force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_one_object_may_work_in_several_threads(talking: Path, lips: LipSync) -> None:
    def render_pictures(face: Path) -> list[np.ndarray]:
        return [lip_frame.frame.rgb() for lip_frame in islice(lips.frames(face, SPEECH), 24)]

    alone = [render_pictures(face) for face in (talking, FACE)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(render_pictures, (talking, FACE)))
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
