"""The context study finds the window that is there, says so in files, and goes on after an interruption."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from study_scenes import FollowingLips, drawn_sample, lips_of, write_corpus
from torch import Tensor

from cals.cli import main
from cals.data.manifest import ClipSource
from cals.data.segments import encode_crops
from cals.data.shards import Sample
from cals.errors import ConfigError, DataError, MediaError
from cals.evaluation.drives import read_clip
from cals.evaluation.scores import compute_openings
from cals.evaluation.studies.common import StudyConfig, load_clips, select_clips
from cals.evaluation.studies.context import ContextConfig, ContextReport, cut_units, measure_context
from cals.evaluation.studies.mouth_readers import PictureReader, StudyClip
from cals.face.detector import BlazeFaceMesh
from cals.features.mel import MelConfig
from cals.metrics.motion import correlation
from cals.models.debug import DebugConfig, DebugLips
from cals.models.lips import Faces, Gallery

pytestmark = pytest.mark.slow

SIDE, REACH = 4, 9
CONFIG = ContextConfig(every=3, reach=REACH, measure="mesh")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips whose mouths follow 2 * SIDE + 1 frames of sound, and one that is too short."""
    rng = np.random.default_rng(0)
    samples = []
    for i, frames in enumerate([40, 40, 40, 12, 40, 40]):
        loudness = rng.uniform(0, 1, frames).astype(np.float32)
        loudness[:14] = 0  # where the mouth is seen at rest
        samples.append(drawn_sample(f"{'ab'[i % 2]}-{i}", loudness, SIDE))
    return write_corpus(tmp_path_factory.mktemp("corpus"), samples)


@pytest.fixture(scope="module")
def study_results(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ContextReport, Path]:
    out = tmp_path_factory.mktemp("study_results") / "out"
    return measure_context(lips_of(FollowingLips(SIDE)), corpus, out, CONFIG), out


@pytest.fixture(scope="module")
def photo(raw: Path, detector: BlazeFaceMesh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of the talking photo, prepared."""
    samples = []
    for name in ("anna/one", "bert/one"):
        clip = read_clip(ClipSource(name=name, speaker=name[:4], video=raw / f"{name}.mp4"), detector)
        views = [item.view for item in clip.frames if item.view is not None]
        assert len(views) == len(clip.frames)
        samples.append(
            Sample(
                key=name.replace("/", "-"),
                crops=encode_crops([view.crop for view in views], 25),
                wav=clip.load_wav(),
                landmarks=np.stack([view.landmarks for view in views]).astype(np.float16),
                facts={"clip": name, "speaker": name[:4], "frames": len(views), "words": None},
            )
        )
    return write_corpus(tmp_path_factory.mktemp("photo"), samples, per_shard=1)


def test_the_window_that_is_there_is_found(study_results: tuple[ContextReport, Path]) -> None:
    report, _ = study_results
    assert list(report.curves) == ["all"]
    opening, lmd = (report.curves["all"][name] for name in ("opening", "lmd"))
    values = [point.value for point in opening.points]
    assert values[0] < 0.7 < values[SIDE - 2] < 0.95
    assert values[SIDE] > 0.99
    shortest, longest = (2 * SIDE - 3) / 25, (2 * SIDE + 1) / 25  # 95 % of it, that is
    assert shortest < opening.window_s.value <= longest
    assert lmd.points[SIDE].value < 0.3 < 0.9 < lmd.points[0].value
    assert shortest < lmd.window_s.value <= longest
    assert opening.whole.value > 0.99
    assert opening.silence.value == 0  # silence moves nothing: nothing of the frame's own mouth is in it
    assert "shorter than the published 1.2 s" in report.format_summary()


def test_it_is_all_in_the_files(study_results: tuple[ContextReport, Path]) -> None:
    report, out = study_results
    assert sorted(path.name for path in out.iterdir()) == ["context.json", "context.md", "context.png"]
    document = json.loads((out / "context.json").read_text())
    clips = {clip["clip"]: clip for clip in document["clips"]}
    assert clips["a-0"]["moments"] == list(range(9, 31, 3))
    assert clips["b-3"]["moments"] == []
    assert clips["a-0"]["series"]["4"]["real"] == pytest.approx(clips["a-0"]["series"]["0"]["real"])
    assert len(clips["a-0"]["series"]) == REACH + 1 + 2
    low, high = document["curves"]["all"]["opening"]["at"][0][1:]
    assert low < document["curves"]["all"]["opening"]["at"][0][0] < high
    assert report.format_summary() in (out / "context.md").read_text()
    assert "5 of 6 clips judged, at 40 moments" in report.format_summary()
    assert "left out: b-3" in report.format_summary()
    assert min(cv2.imread(str(out / "context.png")).shape[:2]) > 300


def test_sound_is_cut_not_masked() -> None:
    audio: list[int] = []

    class Listening(DebugLips):
        def predict_units(self, mel: Tensor) -> Tensor:
            audio.append(mel.shape[1])
            return super().predict_units(mel)

    network = Listening(DebugConfig())
    mel = torch.randn(200, 80)
    units = cut_units(network, mel, [10, 20, 30], 3)
    assert audio == [7 * 4]
    assert torch.allclose(units[1], DebugLips(DebugConfig()).predict_units(mel[None, 80:84])[0, 0], atol=1e-5)
    changed = mel.clone()
    changed[: (20 - 3) * 4] += 9
    changed[(20 + 4) * 4 :] += 9
    assert torch.equal(cut_units(network, changed, [20], 3), cut_units(network, mel, [20], 3))


class _Stop(Exception):  # noqa: N818
    pass


def test_interrupted_work_goes_on_and_says_the_same(
    corpus: Path, study_results: tuple[ContextReport, Path], tmp_path: Path
) -> None:
    lips, out = lips_of(FollowingLips(SIDE)), tmp_path / "out"

    def stop(done: int, _: int | None) -> None:
        if done == 3:
            raise _Stop

    with pytest.raises(_Stop):
        measure_context(lips, corpus, out, CONFIG, progress=stop)
    assert [path.name for path in out.iterdir()] == [".context.jsonl"]
    with (out / ".context.jsonl").open("a") as file:
        file.write('{"clip": "cut sho')  # as a power cut leaves it
    with pytest.raises(ConfigError, match="another every; give it the same settings"):
        measure_context(lips, corpus, out, ContextConfig(every=4, reach=REACH, measure="mesh"))
    seen: list[int] = []
    resumed = measure_context(lips, corpus, out, CONFIG, progress=lambda done, _: seen.append(done))
    assert seen == [3, 4, 5, 6]
    assert not (out / ".context.jsonl").exists()
    assert resumed.document() == study_results[0].document()
    with pytest.raises(MediaError, match="use --force"):
        measure_context(lips, corpus, out, CONFIG)
    measure_context(lips, corpus, out, ContextConfig(every=9, reach=REACH, measure="mesh"), force=True)
    assert json.loads((out / "context.json").read_text())["settings"]["every"] == 9


class Showing(DebugLips):
    """Shows the real frames."""

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        return faces.crops


def test_real_pictures_are_read_as_themselves(photo: Path, tmp_path: Path) -> None:
    config = ContextConfig(every=20, reach=2)
    report = measure_context(lips_of(Showing(DebugConfig())), photo, tmp_path / "out", config)
    curve = report.curves["all"]
    assert [point.value for point in curve["lmd"].points] == [0, 0, 0]
    assert [point.value for point in curve["opening"].points] == pytest.approx([1, 1, 1])
    assert "LMD gains nothing" in report.format_summary()


def test_pictures_are_read_as_the_tracker_reads_them(photo: Path, detector: BlazeFaceMesh) -> None:
    reader = PictureReader(detector, 8)
    for _, clip in load_clips(photo, select_clips(photo, None, StudyConfig()), MelConfig()):
        result = compute_openings(reader.read_real(StudyClip(clip), range(clip.frames)))
        tracked = compute_openings(clip.landmarks[..., :2].astype(np.float64))
        assert correlation(result, tracked) > 0.9  # on GRID 0.98: there mouths open wider
        assert 0.7 < result.std() / tracked.std() < 1.3


def test_the_command_runs(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "splits.json").write_text(json.dumps({"one": ["anna/one"], "two": ["bert/one"]}))
    splits = ["--splits", str(tmp_path / "splits.json"), "--parts", "one", "two"]
    sizes = ["--every", "20", "--reach", "2"]
    main(["context", "debug", str(photo), "--out", str(tmp_path / "out"), *splits, *sizes])
    stdout = capsys.readouterr().out
    for line in ("| one | opening |", "| two | lmd |", "| all | lmd |", "context.png"):
        assert line in stdout
    with pytest.raises(SystemExit):
        main(["context", "debug", str(photo), "--out", str(tmp_path / "mesh"), "--measure", "mesh", *sizes])
    assert "expected a model that moves a mesh" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "mesh").iterdir() if not path.name.startswith(".context")]


def test_wrong_input_is_refused(corpus: Path, tmp_path: Path) -> None:
    lips = lips_of(FollowingLips(SIDE))
    with pytest.raises(DataError, match="long enough"):
        measure_context(lips, corpus, tmp_path / "out", ContextConfig(reach=30, measure="mesh"))
    with pytest.raises(DataError, match="prepared folder"):
        measure_context(lips, tmp_path, tmp_path / "out", CONFIG)
    (tmp_path / "splits.json").write_text(json.dumps({"val": ["nobody"]}))
    with pytest.raises(DataError, match="clips of the part 'val'"):
        measure_context(lips, corpus, tmp_path / "out", ContextConfig(parts=("val",)), splits=tmp_path / "splits.json")
    for wrong in ({"every": 0}, {"clips": 0}, {"parts": ()}, {"measure": "eye"}, {"reach": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ContextConfig(**wrong)  # type: ignore[arg-type]
    other = DebugLips(DebugConfig(crop_px=64))
    with pytest.raises(ConfigError, match="expected crops of 128 px"):
        measure_context(lips_of(other), corpus, tmp_path / "out", ContextConfig())


def test_clips_are_evenly_spaced_in_each_part(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(json.dumps({"x": ["a-0", "b-1", "a-2"], "y": ["a-4", "b-5"]}))
    picks = select_clips(corpus, tmp_path / "splits.json", StudyConfig(parts=("x", "y"), clips=2))
    assert [(pick.part, pick.key) for pick in picks] == [("x", "a-0"), ("x", "a-2"), ("y", "a-4"), ("y", "b-5")]
    result = [(pick.key, clip.key) for pick, clip in load_clips(corpus, picks, MelConfig())]
    assert result == [(key, key) for key in ("a-0", "a-2", "a-4", "b-5")]
