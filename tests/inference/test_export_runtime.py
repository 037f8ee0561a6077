"""An exported model computes what torch does, on real speech and a real face, with no torch in the process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from block_torch import BLOCK_TORCH
from cals import CheckpointError, ConfigError, LipSync
from cals.features.mel import compute_log_mel
from cals.inference.export_runtime import open_export
from cals.inference.load import load_model
from cals.inference.speech_activity import iterate_speech_probabilities, load_speech_detector
from cals.media.audio import load_mono
from cals.media.reader import VideoReader
from cals.models.cals import MeshLips
from cals.models.geometry import measure_lip_gap

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
FACE, SPEECH = EXAMPLES / "grid-s20.mp4", EXAMPLES / "speech.wav"
RUNTIMES: list[Literal["onnxruntime", "openvino"]] = ["onnxruntime", "openvino"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    from cals.inference.export import export_model

    return export_model("grid-small", "onnx", tmp_path_factory.mktemp("exported") / "small")


@pytest.fixture(scope="module")
def torch_frames() -> list[np.ndarray]:
    return list(iterate_pictures(LipSync()))


def iterate_pictures(lips: LipSync) -> Iterator[np.ndarray]:
    for lip_frame in lips.frames(FACE, SPEECH, length="video"):
        yield np.array(lip_frame.frame.rgb(), dtype=np.int16)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_networks_agree_with_torch_on_real_speech(folder: Path, runtime: Literal["onnxruntime", "openvino"]) -> None:
    pytest.importorskip(runtime)
    lips, network = open_export(folder, runtime)[0].network, load_model("grid-small").network
    assert isinstance(network, MeshLips)
    wav = load_mono(SPEECH, 16_000)[None, : 16_000 * 6]
    ours, theirs = compute_log_mel(wav, lips.mel), compute_log_mel(torch.from_numpy(wav), network.mel)
    assert ours.dtype == np.float32
    # in dB; single precision leaves more of a bin that is far below the loudest
    assert float(np.abs(ours - theirs.numpy())[theirs.numpy() > -70].max()) < 1e-2
    for frames in (150, 61):
        mel = theirs[:, : 4 * frames]
        units, expected = lips.compute_units(mel[0].numpy()), network.compute_units(mel[0])
        assert np.abs(units - expected.numpy()).max() < 1e-3
        decoders = lips.build_decoder(), network.build_decoder()
        motion, target = decoders[0].predict_motion(units), decoders[1].predict_motion(expected)
        assert np.abs(motion - target.numpy()).max() < 1e-3
        assert float(target.std()) > 0.1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_speech_is_found_as_by_torch(folder: Path, runtime: Literal["onnxruntime", "openvino"]) -> None:
    pytest.importorskip(runtime)
    detector, wav = open_export(folder, runtime)[1], load_mono(SPEECH, 16_000)
    ours, theirs = (
        np.concatenate(list(iterate_speech_probabilities(each, np.split(wav, [1000, 30_000]))))
        for each in (detector, load_speech_detector())
    )
    assert np.abs(ours - theirs).max() < 1e-3
    assert theirs.min() < 0.1
    assert theirs.max() > 0.9


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_quantised_mouths_open_the_same(
    folder: Path, tmp_path: Path, runtime: Literal["onnxruntime", "openvino"]
) -> None:
    pytest.importorskip(runtime)
    from cals.inference.export import export_model

    quantized = export_model("grid-small", "onnx", tmp_path / "int8", quantize=True)
    assert (quantized / "units.onnx").stat().st_size < 0.5 * (folder / "units.onnx").stat().st_size
    openings = []
    for each in (folder, quantized):
        lips = open_export(each, runtime)[0].network
        mel = compute_log_mel(load_mono(SPEECH, 16_000)[None, : 16_000 * 6], lips.mel)[0]
        decoder = lips.build_decoder()
        openings.append(decoder.predict_motion(lips.compute_units(mel)) @ measure_lip_gap(decoder.mesh.basis))
    assert 0.999 < np.corrcoef(*openings)[0, 1] < 1


def test_no_torch_is_imported_and_the_pictures_are_the_same(
    folder: Path, torch_frames: list[np.ndarray], tmp_path: Path
) -> None:
    out, report = tmp_path / "out.mkv", tmp_path / "report.json"
    arguments = ["generate", "--face", FACE, "--audio", SPEECH, "--out", out, "--model", folder, "--report", report]
    arguments += ["--runtime", "onnxruntime", "--length", "video", "--crf", "1"]
    code = f"{BLOCK_TORCH}\nfrom cals.cli import main\nmain({[str(part) for part in arguments]!r})\n"
    code += "assert 'torch' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    written = json.loads(report.read_text(encoding="utf-8"))
    assert written["generated"] == written["frames"] == len(torch_frames)
    with VideoReader(out) as reader:
        found = [np.array(frame.rgb(), dtype=np.int16) for frame in reader]
    assert len(found) == len(torch_frames)
    assert max(float(np.abs(a - b).mean()) for a, b in zip(found, torch_frames, strict=True)) < 1.5  # the encoder's


def test_frames_differ_from_torchs_by_less_than_a_level(folder: Path, torch_frames: list[np.ndarray]) -> None:
    differences = [
        np.abs(picture - expected)
        for picture, expected in zip(
            iterate_pictures(LipSync(folder, runtime="onnxruntime")), torch_frames, strict=True
        )
    ]
    assert max(float(difference.mean()) for difference in differences) < 0.02
    assert np.mean([np.quantile(difference, 0.999) <= 2 for difference in differences]) > 0.9


def test_what_cannot_be_run_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALS_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="cals models export grid-small --to onnx"):
        LipSync(runtime="onnxruntime")
    with pytest.raises(ConfigError, match="device cpu"):
        LipSync(folder, runtime="onnxruntime", device="cuda")
    with pytest.raises(ConfigError, match="expected one of torch"):
        LipSync(folder, runtime="tensorrt")  # type: ignore[arg-type]
    (tmp_path / "cut").mkdir()
    for name in ("export.json", "mesh.safetensors"):
        (tmp_path / "cut" / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(CheckpointError, match=r"units\.onnx for onnxruntime"):
        LipSync(tmp_path / "cut", runtime="onnxruntime")
    (tmp_path / "cut" / "units.onnx").write_bytes((folder / "units.onnx").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="whole network"):
        LipSync(tmp_path / "cut", runtime="onnxruntime")
    (tmp_path / "cut" / "mesh.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="exported model"):
        LipSync(tmp_path / "cut", runtime="onnxruntime")


def test_models_that_draw_crops_and_other_folders_are_refused(tmp_path: Path) -> None:
    from cals.inference.export import export_model

    with pytest.raises(ConfigError, match="predicts motion"):
        export_model("debug", "onnx", tmp_path / "new")
    with pytest.raises(ConfigError, match="quantised for onnx"):
        export_model("grid-small", "openvino", tmp_path / "new", quantize=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(CheckpointError, match="new folder"):
        export_model("grid-small", "onnx", tmp_path / "mine", force=True)
