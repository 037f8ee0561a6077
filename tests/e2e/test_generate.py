"""The main job from end to end, as a user runs it, with the model that ships."""

import json
from collections.abc import Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from generate_inputs import FACE, SHORT_FRAMES, SPEECH, read_times_s, write_video_with_gap

from cals import LipSync
from cals.cli import main
from cals.inference.frame_tracker import TrackedFrame
from cals.inference.mouth_bank import MouthBank
from cals.inference.mouth_painter import MouthPainter
from cals.media.audio import load_mono
from cals.media.reader import VideoReader
from cals.provenance.manifest import hash_file
from cals.provenance.verify import verify_file


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


def test_provenance_is_on_by_default(talking: Path, short: Path, tmp_path: Path, shipped: LipSync) -> None:
    with av.open(str(talking)) as container:
        assert "compositeWithTrainedAlgorithmicMedia" in container.metadata["comment"]
    result = verify_file(talking)
    assert (result.state, result.trust) == ("intact", "own")
    assert result.generation["model"] == "grid-small"
    assert [item["sha256"] for item in result.generation["inputs"]] == [hash_file(FACE), hash_file(SPEECH)]
    shipped.generate(FACE, short, tmp_path / "bare.mp4", provenance=False)
    with av.open(str(tmp_path / "bare.mp4")) as container:
        assert "comment" not in container.metadata
    assert verify_file(tmp_path / "bare.mp4").state == "none"


def test_report_and_closing_line(
    talking: Path, short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["generate", "--face", str(talking), "--audio", str(short), "--outfile", str(tmp_path / "o.mov")]
    main([*arguments, "--report", str(tmp_path / "r.json")])
    line = capsys.readouterr().out
    document = json.loads((tmp_path / "r.json").read_text())
    assert f"{document['generated']} frames generated, 0 passed through" in line
    assert "times real time" in line
    assert document["frames"] == len(document["per_frame"]) == len(read_times_s(tmp_path / "o.mov")) == SHORT_FRAMES
    assert document["per_frame"][-1] == {
        "index": document["frames"] - 1,
        "time_s": pytest.approx((document["frames"] - 1) / 25),
        "status": "generated",
        "strength": 1.0,
        "track": 0,
        "face_score": pytest.approx(1.0, abs=0.1),
    }


def test_frames_without_a_face_pass_through(tmp_path: Path, shipped: LipSync) -> None:
    write_video_with_gap(tmp_path / "gap.mp4", Fraction(30000, 1001), range(30, 40), 70)
    report = shipped.generate(
        tmp_path / "gap.mp4", SPEECH, tmp_path / "out.mp4", length="video", report=tmp_path / "r.json"
    )
    assert report.counts == {"generated": 60, "no face": 10}
    assert report.per_frame is not None
    assert [f["index"] for f in report.per_frame if f["status"] == "no face"] == list(range(30, 40))
    assert read_times_s(tmp_path / "out.mp4") == read_times_s(tmp_path / "gap.mp4")


def test_the_look_ahead_numbers_people_as_the_job_does(
    tmp_path: Path, shipped: LipSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video_with_gap(tmp_path / "gap.mp4", Fraction(25), range(10, 30), 50)
    all_banks: list[dict[int, MouthBank]] = []
    build_banks = MouthPainter._build_banks

    def spy(painter: MouthPainter, ahead: Iterable[TrackedFrame]) -> dict[int, MouthBank]:
        banks = build_banks(painter, ahead)
        all_banks.append(dict(banks))
        return banks

    monkeypatch.setattr(MouthPainter, "_build_banks", spy)
    lip_frames = list(shipped.frames(tmp_path / "gap.mp4", SPEECH, length="video"))
    tracks = {frame.face.track for frame in lip_frames if frame.face.valid}
    assert len(tracks) == 2
    assert set(all_banks[0]) == tracks
    for track, bank in all_banks[0].items():
        times_s = [float(frame.face.time_s) for frame in lip_frames if frame.face.valid and frame.face.track == track]
        assert bank._arrays.times_s.tolist() == pytest.approx(times_s)
    list(islice(shipped.frames(FACE, SPEECH), 2))
    assert all_banks[1] == {}  # of a photo there is no more to know


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
