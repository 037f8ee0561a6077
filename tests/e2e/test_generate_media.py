"""Odd videos, pictures and sound files from end to end."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from generate_inputs import FACE, SHORT_FRAMES, SPEECH, read_times_s, run_failing, write_video_with_gap

from cals import LipSync
from cals.cli import main
from cals.media.audio import load_mono
from drawing import write_tracks


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


def test_further_sound_tracks_come_along(
    talking: Path, short: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
    arguments = ["generate", "--face", str(film), "--audio", str(short), "--out", str(tmp_path / "o.mkv"), "--force"]
    for option, count in (("--keep-tracks", 2), ("--no-keep-tracks", 1)):
        main([*arguments, option])
        with av.open(str(tmp_path / "o.mkv")) as container:
            assert len(container.streams.audio) == count
            assert len(container.streams) == count + 1
    assert not caplog.records


def test_a_choppy_video_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video_with_gap(tmp_path / "slow.mp4", Fraction(8), range(0), 8)
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


def test_tiny_and_deep_pictures(
    short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], shipped: LipSync
) -> None:
    cv2.imwrite(str(tmp_path / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    message = run_failing(
        ["generate", "--face", str(tmp_path / "dot.png"), "--audio", str(SPEECH), "--out", str(tmp_path / "o.mp4")],
        capsys,
    )
    assert "expected a face" in message
    cv2.imwrite(str(tmp_path / "deep.png"), cv2.imread(str(FACE)).astype(np.uint16) * 257)
    assert shipped.generate(tmp_path / "deep.png", short, tmp_path / "deep.mp4").generated == SHORT_FRAMES


def test_silence_is_valid_speech(tmp_path: Path, shipped: LipSync) -> None:
    with av.open(str(tmp_path / "quiet.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert shipped.generate(FACE, tmp_path / "quiet.wav", tmp_path / "out.mp4").frames == 25
