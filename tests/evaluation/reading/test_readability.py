"""Readability from end to end: the random model by the command line, and methods whose result is known."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from cals import LipSync
from cals.checkpoint import Checkpoint, save_checkpoint
from cals.cli import main
from cals.data.manifest import ClipSource
from cals.data.sources import grid
from cals.data.words import TimedWord
from cals.errors import CheckpointError, ConfigError, DataError
from cals.evaluation.drives import RealClip, read_clip
from cals.evaluation.reading import readability as protocol
from cals.evaluation.reading.lip_reading import read_words
from cals.evaluation.reading.methods import Methods
from cals.evaluation.reading.readability import FILES, ReadabilityConfig, measure_readability
from cals.face.detector import BlazeFaceMesh, FaceDetector
from cals.inference.stream import GENERATED, FaceStatus, LipFrame
from cals.media.reader import VideoReader
from cals.models.reader import LipReader, ReaderConfig
from drawing import write_video
from evaluation.conftest import FRAMES

pytestmark = pytest.mark.slow

WORDS = ((0, 5, "bin"), (5, 12, "blue"), (14, 20, "now"), (20, 26, "bin"), (30, 36, "uh"), (30, 40, "four"))
"""Frames; "uh" is in no vocabulary."""


@pytest.fixture(scope="module")
def spoken(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn clips with words; nobody has written down what bert says."""
    root = tmp_path_factory.mktemp("spoken") / "clips"
    shutil.copytree(raw, root)
    lines = [f"{1000 * start} {1000 * end} {text}" for start, end, text in WORDS]
    alignment = "\n".join(["0 100 sil", *lines]) + "\n"
    for name, text in (
        ("anna/one", alignment),
        ("anna/two", alignment.replace("blue", "red")),
        ("carl/gone", alignment),
    ):
        (root / f"{name}.align").write_text(text)
    return root


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader that takes everything for "bin"."""
    torch.manual_seed(0)
    config = ReaderConfig(width=2, hidden=8, layers=1)
    model = LipReader(config)
    model.head[-1].bias.data[config.words.index("bin")] = 100.0
    folder = tmp_path_factory.mktemp("reader") / "model"
    save_checkpoint(folder, Checkpoint(kind="reader", config=asdict(config), weights=model.state_dict()))
    return folder


class Echo(LipSync):
    """Plays the real frames."""

    def frames(self, face: str | Path, audio: str | Path, **_: object) -> Iterator[LipFrame]:  # type: ignore[override]
        clip = read_clip(
            next(c for c in grid.list_clips(Path(face).parents[1]) if c.video == Path(face)), self.detector
        )
        for item in clip.frames:
            yield LipFrame(item.frame, (FaceStatus(item.face, GENERATED, 1.0),))

    detector: BlazeFaceMesh


def test_the_command_reads_real_and_generated(
    spoken: Path, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = ["readability", str(spoken), "--splits", str(spoken / "splits.json"), "--reader", str(reader)]
    arguments += ["--model", "debug", "--out", str(out)]
    main(arguments)
    stdout = capsys.readouterr().out
    assert "without known words: 1 clips of val_unseen" in stdout
    assert {path.name for path in out.iterdir()} == set(FILES)
    document = json.loads((out / "readability.json").read_text())
    one, two, gone = document["clips"]
    # anna/two has no face in its first 3 frames, and generation fades in after them: its first words are not read
    assert (one["clip"], two["clip"], gone["clip"]) == ("anna/one", "anna/two", "carl/gone")
    assert [word[0] for word in two["readings"]["debug"]] == ["now", "bin", "four"]
    assert (two["left_out"], gone["left_out"]) == (2, 5)
    assert gone["readings"] == {}
    assert list(one["readings"]) == ["real", "blanked", "copy", "shuffled", "debug"]
    scores = {(s["part"], s["slot"], s["method"]): s for s in document["scores"]}
    words, bins = (sum(len([w for w in c["readings"]["real"] if w[0] in texts]) for c in (one, two)) for texts in
                   ({"bin", "blue", "red", "now", "four"}, {"bin"}))  # fmt: skip
    whole = scores["val_seen", "all", "debug"]
    assert whole["words"] == words
    assert whole["accuracy"]["value"] == pytest.approx(bins / words)
    assert whole["of_real"]["value"] == 1
    assert scores["val_seen", "command", "debug"]["accuracy"]["value"] == 1
    assert scores["val_seen", "digit", "debug"]["of_real"]["value"] is None  # real ones were not read either

    with pytest.raises(SystemExit):
        main(arguments)
    assert "use --force" in capsys.readouterr().err
    before, calls = (out / "readability.json").read_bytes(), []

    def interrupted(source: ClipSource, detector: FaceDetector) -> RealClip:
        if len(calls) == 2:
            calls.append("interrupted")
            raise KeyboardInterrupt
        calls.append(source.name)
        return read_clip(source, detector)

    monkeypatch.setattr(protocol, "read_clip", interrupted)
    with pytest.raises(SystemExit):
        main([*arguments, "--force"])
    assert (out / "readability.json").read_bytes() == before
    main([*arguments, "--force"])
    assert calls == ["anna/one", "anna/two", "interrupted", "carl/gone"]
    assert (out / "readability.json").read_bytes() == before
    assert {path.name for path in out.iterdir()} == set(FILES)


def test_the_real_frames_are_read_as_the_real_ones(spoken: Path, tmp_path: Path, detector: BlazeFaceMesh) -> None:
    """Whoever plays the real frames, as a model or from a folder, is read word by word as they are."""
    torch.manual_seed(3)
    config = ReaderConfig(width=2, hidden=8, layers=1)
    model = LipReader(config)
    model.head[-1].weight.data *= 30  # reads something else in every mouth
    save_checkpoint(tmp_path / "reader", Checkpoint(kind="reader", config=asdict(config), weights=model.state_dict()))
    made = tmp_path / "made elsewhere" / "anna"
    made.mkdir(parents=True)
    for name in ("one", "two"):
        shutil.copy(spoken / "anna" / f"{name}.mp4", made)
    echo = Echo("debug")
    echo.detector = detector
    report = measure_readability(
        spoken,
        spoken / "splits.json",
        tmp_path / "reader",
        {"echo": echo},
        tmp_path / "out",
        ReadabilityConfig(parts=("val_seen",)),
        generated=[made.parent],
    )
    for clip in report.clips:
        assert clip.readings["echo"] == clip.readings["real"] == clip.readings["made elsewhere"]
        assert len(clip.readings["real"]) >= 4
    one, two = report.clips  # they say the same at the same times, but for a colour
    assert [word.pred for word in one.readings["shuffled"]] == [word.pred for word in one.readings["real"]]
    assert [[w.target for w in clip.readings["shuffled"]][-4] for clip in (one, two)] == ["red", "blue"]


def test_only_frames_with_a_face_and_not_blanked_are_read() -> None:
    torch.manual_seed(3)
    network = LipReader(ReaderConfig(width=2, hidden=8, layers=1)).eval().requires_grad_(False)
    network.head[-1].weight.data *= 30
    rng = np.random.default_rng(0)
    words = [TimedWord(4, 8, "bin"), TimedWord(8, 14, "blue")]
    mouth, valid = rng.integers(0, 256, (20, 48, 72, 3), dtype=np.uint8), np.ones(20, bool)
    valid[[2, 15]] = False  # in the context of either
    readings = [read_words(network, mouth, words, valid, blanked=blanked) for blanked in (False, True)]
    hidden = mouth.copy()
    hidden[[0, 2, 15, 18]] = 0
    assert read_words(network, hidden, words, valid) == readings[0]
    for number, word in enumerate(words):
        blank = mouth.copy()
        blank[word.start : word.end] = 0
        assert read_words(network, blank, [word], valid, blanked=True) == readings[1][number : number + 1]
    assert readings[0] != readings[1]
    assert read_words(network, mouth, [], valid) == []


def test_a_video_made_elsewhere_may_end_early(spoken: Path, tmp_path: Path, detector: BlazeFaceMesh) -> None:
    source = next(clip for clip in grid.list_clips(spoken) if clip.name == "anna/one")
    clip = read_clip(source, detector)
    with VideoReader(source.video) as video:
        pictures = [frame.rgb() for frame in video]
    short = tmp_path / "theirs" / "anna" / "one.mp4"
    short.parent.mkdir(parents=True)
    write_video(short, frames=pictures[:20], size=(320, 320), options={"crf": "12"})
    seen = Methods({}, [tmp_path / "theirs"], detector).track_methods(clip)["theirs"]
    assert seen.valid.tolist() == [t < 20 for t in range(FRAMES)]
    assert float(np.abs(seen.crops[:20].astype(float) - clip.faces.crops[:20]).mean()) < 6


def test_wrong_input_is_refused_before_any_work(
    spoken: Path, reader: Path, tmp_path: Path, detector: BlazeFaceMesh
) -> None:
    splits, out = spoken / "splits.json", tmp_path / "out"
    (tmp_path / "bert.json").write_text(json.dumps({"only": ["bert/one"]}))
    with pytest.raises(DataError, match="words that the reader knows"):
        measure_readability(spoken, tmp_path / "bert.json", reader, {}, out, ReadabilityConfig(parts=("only",)))
    with pytest.raises(CheckpointError, match="expected a checkpoint folder"):
        measure_readability(spoken, splits, tmp_path, {}, out, ReadabilityConfig())
    with pytest.raises(ConfigError, match="other names than real"):
        Methods({"copy": LipSync("debug")}, [], detector)
    shutil.copytree(spoken / "bert", tmp_path / "theirs" / "bert")
    with pytest.raises(DataError, match="none of 3, for example anna/one"):
        measure_readability(spoken, splits, reader, {}, out, ReadabilityConfig(), generated=[tmp_path / "theirs"])
    with pytest.raises(ConfigError, match="clips: expected 1 or more"):
        ReadabilityConfig(clips=0)
    assert not out.exists()
