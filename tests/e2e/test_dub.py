"""A dub from end to end: persons and segments speak, all else stays."""

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cals import LipSync, MediaError
from cals.cli import main
from cals.inference.dub import build_full_segments
from cals.media.audio import load_mono
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.media.reader import VideoReader
from cals.media.source import VideoSource
from cals.media.writer import VideoWriter
from cals.options import EncodeOptions, GenerateOptions
from drawing import write_video, write_wav

EXAMPLES = Path(__file__).parents[2] / "examples"
SPEECH = EXAMPLES / "speech.wav"
SIDE, COUNT, RATE_HZ = 256, 75, 16_000
MOUTHS = {"1": np.s_[150:230, 60:190], "2": np.s_[150:230, 316:446]}
"""Where the mouths are, generously."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two persons side by side with a tone, and voices."""
    folder = tmp_path_factory.mktemp("two people")
    crops = []
    for file, (x, y, size) in (("astronaut.jpg", (90, 0, 270)), ("grid-s20.mp4", (60, 20, 240))):
        with VideoReader(EXAMPLES / file) as reader:
            rgb = next(iter(reader)).rgb()
        crops.append(cv2.resize(rgb[y : y + size, x : x + size], (SIDE, SIDE)))
    picture = np.hstack(crops).astype(np.uint8)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE_HZ) / RATE_HZ)
    write_wav(folder / "tone.wav", tone.astype(np.float32), RATE_HZ)
    like = VideoSource(EXAMPLES / "grid-s20.mp4").format
    like = type(like)(**{**like.__dict__, "width": 2 * SIDE, "height": SIDE})
    with VideoWriter(folder / "two.mp4", like, audio=folder / "tone.wav", encode=EncodeOptions(crf=4)) as writer:
        for k in range(COUNT):
            writer.write(Frame(from_rgb(picture), k, Fraction(k, 25), Fraction(1, 25)))
    voice = load_mono(SPEECH, RATE_HZ)
    write_wav(folder / "1.wav", voice[: round(0.8 * RATE_HZ)], RATE_HZ)
    write_wav(folder / "2.wav", voice[RATE_HZ : 2 * RATE_HZ], RATE_HZ)
    return folder


def run(folder: Path, *arguments: str, out: str = "out.mp4") -> Path:
    path = folder / out
    main(
        [
            "generate",
            "--face",
            str(folder / "two.mp4"),
            "--out",
            str(path),
            "--model",
            "debug",
            "--crf",
            "4",
            *arguments,
        ]
    )
    return path


def measure_changes(before: Path, after: Path) -> dict[str, list[float]]:
    """Measure how much each mouth differs between two videos, frame by frame."""
    changes: dict[str, list[float]] = {person: [] for person in MOUTHS}
    with VideoReader(before) as one, VideoReader(after) as other:
        for old, new in zip(one, other, strict=True):
            assert old.time_s == new.time_s
            difference = np.abs(old.rgb().astype(int) - new.rgb())
            for person, region in MOUTHS.items():
                changes[person].append(float(difference[region].max(axis=2).mean()))
    return changes


def test_two_persons_speak_in_one_pass(folder: Path) -> None:
    out = run(folder, "--speak", f"1={folder / '1.wav'}", "--speak", f"2={folder / '2.wav'}")
    changes = measure_changes(folder / "two.mp4", out)
    assert min(changes["1"][4:16]) > 1.5 > 1 > max(changes["1"][20:])
    assert min(changes["2"][4:21]) > 1.5 > 1 > max(changes["2"][25:])
    heard, tone = load_mono(out, RATE_HZ), load_mono(folder / "two.mp4", RATE_HZ)
    voices = load_mono(folder / "2.wav", RATE_HZ)
    voices[: round(0.8 * RATE_HZ)] += load_mono(folder / "1.wav", RATE_HZ)
    assert np.corrcoef(heard[1600:14400], voices[1600:14400])[0, 1] > 0.95  # both, and no tone
    assert np.corrcoef(heard[18000:46000], tone[18000:46000])[0, 1] > 0.95


def test_segments_change_their_parts_only(folder: Path) -> None:
    (folder / "a.srt").write_text(
        "1\n00:00:00,400 --> 00:00:01,200\nfirst\n\n2\n00:00:01,600 --> 00:00:02,400\nsecond\n", encoding="utf-8"
    )
    report = folder / "r.json"
    out = run(
        folder, "--segments", str(folder / "a.srt"), "--audio-dir", str(folder), "--person", "2",
        "--report", str(report), "--background", "keep", out="segments.mp4",
    )  # fmt: skip
    changes = measure_changes(folder / "two.mp4", out)
    assert max(changes["1"]) < 1  # nobody dubs them
    assert min(changes["2"][14:26]) > 1.5
    assert min(changes["2"][44:56]) > 1.5
    assert max([*changes["2"][:10], *changes["2"][31:39], *changes["2"][61:]]) < 1
    document = json.loads(report.read_text())
    assert [segment["tempo"] for segment in document["segments"]] == [1.0, 1.25]
    assert document["passed_through"] == {"outside of the segments": 35}
    tone, heard = load_mono(folder / "two.mp4", RATE_HZ), load_mono(out, RATE_HZ)
    inside = slice(round(0.9 * RATE_HZ), round(1.1 * RATE_HZ))
    level = float(heard[inside] @ tone[inside] / (tone[inside] @ tone[inside]))
    assert 0.15 < level < 0.4  # the original sound, 12 dB down


def test_one_part_of_a_video(folder: Path) -> None:
    out = run(folder, "--audio", str(folder / "1.wav"), "--from", "1", "--to", "00:00:02", "--person", "1", out="p.mp4")
    changes = measure_changes(folder / "two.mp4", out)["1"]
    assert min(changes[29:46]) > 1.5 > 1 > max([*changes[:25], *changes[50:]])


def test_a_voice_drives_while_a_mix_is_heard(folder: Path) -> None:
    lips = LipSync("debug")
    silence = folder / "silence.wav"
    write_wav(silence, np.zeros(3 * RATE_HZ, np.float32), RATE_HZ)
    still = list(lips.frames(folder / "two.mp4", silence))
    out = folder / "mix.mp4"
    lips.generate(folder / "two.mp4", folder / "two.mp4", out, voice=silence)
    heard, tone = load_mono(out, RATE_HZ), load_mono(folder / "two.mp4", RATE_HZ)
    assert np.corrcoef(heard[1600:46000], tone[1600:46000])[0, 1] > 0.95
    with VideoReader(out) as reader:
        for frame, expected in zip(reader, still, strict=True):
            assert np.abs(frame.rgb().astype(int) - expected.frame.rgb()).mean() < 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--speak", "1"], "speak: expected PERSON=AUDIO, found '1'"),
        (["--speak", "1=nothing.wav"], "nothing.wav: expected"),
        (["--speak", "1=FOLDER/1.wav", "--segments", "a.srt"], "one kind of dub, found --speak and --segments"),
        (["--speak", "1=FOLDER/1.wav", "--voice", "FOLDER/2.wav"], "voice: expected none in a dub"),
        (["--speak", "1=FOLDER/1.wav", "--speak", "3=FOLDER/2.wav"], "expected the person '3', found at most 2"),
        (["--speak", "1=FOLDER/1.wav", "--speak", "left=FOLDER/2.wav"], "a face each for the persons '1' and 'left'"),
        (["--from", "1"], "from: expected what is said there, found none"),
        (["--audio", "FOLDER/1.wav", "--from", "2:xx"], "from: expected seconds (12.5) or a time"),
        (["--audio", "FOLDER/1.wav", "--from", "9"], "expected times within the video (3.000 s)"),
        (["--segments", "FOLDER/late.json"], "late.json, segment 1: expected times within the video (3.000 s)"),
        (["--segments", "FOLDER/name.json"], "expected a person of the video, found the name 'Ann'"),
        (["--segments", "FOLDER/two.json", "--cast", "Ann=1"], "expected a start after the segment of 1"),
        (["--segments", "FOLDER/mute.json"], "mute.json, segment 1: expected a voice file for the segment, found none"),
        (["--segments", "FOLDER/name.json", "--cast", "Ann=1", "--cast", "Zed=2"], "cast: expected names that the"),
        (["--audio", "FOLDER/1.wav", "--cast", "Ann=1"], "cast: expected --segments beside it, found none"),
        (["--audio", "FOLDER/1.wav", "--voice", "FOLDER/2.wav", "--from", "1"], "voice: expected none in a dub"),
        (["--speak", "1=FOLDER/1.wav", "--length", "loop"], "length: expected none for a dub"),
        (["--speak", "1=FOLDER/1.wav", "--audio", "FOLDER/2.wav", "--background", "keep"], "background: expected drop"),
        (["--audio", "FOLDER/1.wav", "--who-speaks", "auto", "--person", "2"], "who_speaks: expected auto or a person"),
        ([], "audio: expected a sound, found none"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_nothing_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    for name, segments in {
        "late": [{"start": 2, "end": 9, "audio": "1.wav"}],
        "name": [{"start": 0, "end": 1, "audio": "1.wav", "speaker": "Ann"}],
        "two": [
            {"start": 0, "end": 1, "audio": "1.wav", "speaker": "Ann"},
            {"start": 0.5, "end": 2, "audio": "2.wav", "person": "1"},
        ],
        "mute": [{"start": 0, "end": 1}],
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(segments), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(
            ["generate", "--face", str(folder / "two.mp4"), "--out", str(tmp_path / "out.mp4"), "--model", "debug"]
            + [argument.replace("FOLDER", str(folder)) for argument in arguments]
        )
    error = capsys.readouterr().err.strip()
    assert stop.value.code == 1
    assert message in error
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


def test_the_rest_of_a_photo_stays_and_it_speaks_for_the_whole_voice(folder: Path) -> None:
    out = folder / "photo.mp4"
    photo, voice = str(EXAMPLES / "astronaut.jpg"), str(folder / "1.wav")
    main(["generate", "--face", photo, "--audio", voice, "--from", "0.4", "--out", str(out), "--model", "debug"])
    with VideoReader(out) as reader:
        assert len(list(reader)) == 30


def test_a_voice_is_cut_where_the_video_ends(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    voice = load_mono(SPEECH, RATE_HZ)[: 4 * RATE_HZ]
    write_wav(folder / "long.wav", voice, RATE_HZ)
    report = LipSync("debug").dub(
        folder / "two.mp4",
        build_full_segments(folder / "two.mp4", [(1, folder / "long.wav")], GenerateOptions()),
        folder / "long.mp4",
    )
    assert report.segments[0]["tempo"] == 1
    assert report.segments[0]["lost_s"] == 1
    assert report.seconds == 3
    assert "its last 1.000 s cut" in caplog.text


def test_the_output_may_not_be_a_voice(folder: Path) -> None:
    lips = LipSync("debug")
    before = (folder / "1.wav").read_bytes()
    segments = build_full_segments(folder / "two.mp4", [(1, folder / "1.wav")], GenerateOptions())
    with pytest.raises(MediaError):
        lips.dub(folder / "two.mp4", segments, folder / "1.wav", force=True)
    assert (folder / "1.wav").read_bytes() == before


def test_groups_of_pictures_without_a_segment_are_copied(folder: Path) -> None:
    with VideoReader(folder / "two.mp4") as reader:
        pictures = [frame.rgb() for frame in reader]
    options = {"x264-params": "keyint=15:min-keyint=15:scenecut=0", "crf": "10"}
    source, out = folder / "groups.mp4", folder / "copied.mp4"
    write_video(source, frames=pictures, size=(2 * SIDE, SIDE), options=options)
    voice = folder / "1.wav"
    main(
        [
            *("generate", "--face", str(source), "--audio", str(voice), "--from", "1.3", "--to", "1.7"),
            *("--person", "1", "--model", "debug", "--out", str(out)),
        ]
    )
    packets: list[list[bytes]] = []
    for path in (source, out):
        with av.open(str(path)) as container:
            packets.append([bytes(packet) for packet in container.demux(video=0) if packet.size])
    assert len(packets[1]) == COUNT
    assert packets[1][:30] == packets[0][:30]
    assert packets[1][45:] == packets[0][45:]
    assert max(measure_changes(source, out)["1"][34:41]) > 1.5
