"""Generated lips read beside the real ones, and whether two readers agree on them."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from cals.cli import main
from cals.data.manifest import ClipSource
from cals.data.segments import encode_crops
from cals.data.shards import Sample
from cals.data.utterances import UtteranceStore
from cals.errors import ConfigError, DataError
from cals.evaluation.drives import read_clip
from cals.evaluation.recognition.agreement import compare_readers, load_accuracies
from cals.evaluation.recognition.videos import Videos
from cals.face.detector import BlazeFaceMesh
from cals.timing import AVTiming
from evaluation.conftest import FRAMES
from evaluation.recognition.recognisers import save_recogniser, write_corpus

pytestmark = pytest.mark.slow

CUT, PX, FIRST = (56, 128, 28, 100), 24, 8


@pytest.fixture(scope="module")
def prepared(raw: Path, detector: BlazeFaceMesh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `cals prepare` makes of anna's first clip, but for its first frames."""
    clip = read_clip(ClipSource(name="anna/one", speaker="anna", video=raw / "anna" / "one.mp4"), detector)
    crops = list(clip.faces.crops[FIRST:])
    facts = {"clip": "anna/one", "speaker": "anna", "frames": len(crops), "start_frame": FIRST, "words": None}
    sample = Sample(
        key="anna-one-000008",
        crops=encode_crops(crops, 25),
        wav=clip.load_wav()[FIRST * 640 :],
        landmarks=np.zeros((len(crops), 468, 3), np.float16),
        facts=facts | {"text": "Bin red, at now!"},
    )
    return write_corpus(tmp_path_factory.mktemp("prepared"), [sample], {"val_seen": ["anna/one"]})


@pytest.fixture(scope="module")
def generated(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another system's videos: `same` shows the real clip, `other` another one, `gone` has no face."""
    root = tmp_path_factory.mktemp("generated")
    for name, source in (("same", "anna/one"), ("other", "bert/one"), ("gone", "carl/gone")):
        (root / name / "anna").mkdir(parents=True)
        shutil.copy(raw / f"{source}.mp4", root / name / "anna" / "one.mp4")
    return root


def test_mouths_are_cut_out_as_prepared(prepared: Path, generated: Path, detector: BlazeFaceMesh) -> None:
    real = UtteranceStore(prepared, None, cut=CUT, mouth_px=PX)[0].mouth
    names = ("same", "other", "gone")
    videos = Videos([(name, generated / name) for name in names], detector, AVTiming())
    mouths = {name: videos.read_mouths(name, "anna/one", FIRST, len(real), CUT, PX) for name in names}
    assert mouths["same"].shape == real.shape == (FRAMES - FIRST, PX, PX)
    assert (mouths["same"] == real).all()
    assert (mouths["other"] != real).any()
    assert mouths["gone"].max() < 3
    longer = videos.read_mouths("same", "anna/one", FIRST, len(real) + 5, CUT, PX)
    assert longer[: len(real)].max(axis=(1, 2)).min() > 100
    assert longer[len(real) :].max() < 3  # the video has ended


def test_the_command_compares_generated_with_real_lips(
    prepared: Path, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = save_recogniser(tmp_path / "model", 2), tmp_path / "out"
    scores = [
        {"part": "val_seen", "slot": "all", "method": name, "accuracy": {"value": value}}
        for name, value in (("real", 0.9), ("same", 0.8), ("copy", 0.3), ("gone", None))
    ]
    (tmp_path / "readability.json").write_text(json.dumps({"scores": scores}))
    arguments = ["wer", str(prepared), "--splits", str(prepared / "splits.json"), "--parts", "val_seen"]
    arguments += ["--model", f"both={model}", "--beam", "2", "--language-weight", "0", "--out", str(out)]
    arguments += ["--videos", str(generated / "same"), "--videos", f"else={generated / 'other'}"]
    main([*arguments, "--readability", str(tmp_path / "readability.json")])
    stdout = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["wer.json", "wer.md"]
    document = json.loads((out / "wer.json").read_text())
    rates = {one["condition"]: one["wer"][0] for one in document["rates"]}
    assert list(rates) == ["real", "same", "else"]
    assert {one["system"] for one in document["rates"]} == {"both, video only"}
    (clip,) = document["clips"]
    assert clip["said"] == "bin red at now"
    same, other = document["generated"]
    assert (same["videos"], other["videos"]) == ("same", "else")
    assert other["ratio"][0] == pytest.approx(rates["else"] / rates["real"], abs=1e-4)
    assert other["difference"][0] == pytest.approx(rates["else"] - rates["real"], abs=1e-4)
    methods = [(one["method"], one["word_reader"]) for one in document["agreement"]["methods"]]
    assert methods == [("real", 0.9), ("same", 0.8)]
    assert document["agreement"]["correlations"][0]["correlation"] is None
    assert "it needs 3 methods" in stdout

    arguments[arguments.index("--out") + 1] = str(tmp_path / "again")
    with pytest.raises(SystemExit):
        main([*arguments, "--videos", str(generated / "same")])
    assert "different names" in capsys.readouterr().err
    shutil.copytree(generated / "gone" / "anna", tmp_path / "made" / "bert")
    with pytest.raises(SystemExit):
        main([*arguments, "--videos", str(tmp_path / "made")])
    assert "expected a video of every clip, such as anna/one.mp4" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "again").exists()


def test_agreement_over_methods(tmp_path: Path) -> None:
    words = {("seen", "real"): 0.9, ("seen", "ours"): 0.7, ("seen", "copy"): 0.2, ("unseen", "real"): 0.5}
    rates = {("seen", "real", "v"): 0.2, ("seen", "ours", "v"): 0.5, ("seen", "copy", "v"): 0.9}
    agreement = compare_readers(tmp_path, words, rates | {("seen", "theirs", "v"): 0.1, ("unseen", "real", "v"): 0.3})
    ((part, system), value), (_, alone) = agreement.compute_correlations().items()
    assert (part, system) == ("seen", "v")
    assert value == pytest.approx(np.corrcoef([0.9, 0.7, 0.2], [0.8, 0.5, 0.1])[0, 1])
    assert math.isnan(alone)
    assert f"correlation over methods and real lips {value:.2f}" in agreement.format_text()
    with pytest.raises(DataError, match="--videos NAME=FOLDER"):
        compare_readers(tmp_path, words, {("seen", "theirs", "v"): 0.1})
    for text in ("{}", "[]", "none", '{"scores": [1]}'):
        (tmp_path / "readability.json").write_text(text)
        with pytest.raises(DataError, match="cals readability"):
            load_accuracies(tmp_path / "readability.json")
    with pytest.raises(DataError, match="cals readability"):
        load_accuracies(tmp_path / "nothing.json")


def test_a_folder_cannot_be_called_as_the_real_clips(generated: Path, detector: BlazeFaceMesh) -> None:
    with pytest.raises(ConfigError, match="another 'real'"):
        Videos([("real", generated / "same")], detector, AVTiming())
