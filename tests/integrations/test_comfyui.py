"""The nodes keep ComfyUI's documented contract, and change mouths and nothing else."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from cals import CheckpointError, ConfigError
from cals.media.audio import load_mono, probe
from cals.media.reader import VideoReader

ROOT = Path(__file__).parents[2]
FOLDER, EXAMPLES = ROOT / "integrations" / "comfyui", ROOT / "examples"


@pytest.fixture(scope="module")
def package() -> Iterator[ModuleType]:
    """Import the folder as ComfyUI does: as a package under a name of its own."""
    spec = importlib.util.spec_from_file_location("comfyui_cals", FOLDER / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["comfyui_cals"] = module
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "comfyui_cals"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def model(package: ModuleType) -> Any:
    try:
        return package.NODE_CLASS_MAPPINGS["CalsLoadModel"]().load("debug")[0]
    except CheckpointError as error:
        pytest.skip(f"face models are not in the cache and cannot be fetched: {error}")


@pytest.fixture
def audio() -> dict[str, Any]:
    wav = load_mono(EXAMPLES / "speech.wav", 16_000)[:16_000]
    return {"waveform": torch.from_numpy(np.stack([wav, wav]))[None], "sample_rate": 16_000}


def read_images(count: int) -> torch.Tensor:
    with VideoReader(EXAMPLES / "grid-s20.mp4") as reader:
        frames = [frame.rgb() for frame, _ in zip(reader, range(count), strict=False)]
    return torch.from_numpy(np.stack(frames)).float() / 255


def test_nodes_have_what_comfyui_asks_for(package: ModuleType) -> None:
    assert package.NODE_DISPLAY_NAME_MAPPINGS.keys() == package.NODE_CLASS_MAPPINGS.keys()
    for node in package.NODE_CLASS_MAPPINGS.values():
        inputs = node.INPUT_TYPES()
        assert inputs.keys() <= {"required", "optional", "hidden"}
        assert callable(getattr(node, node.FUNCTION))
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
        assert node.CATEGORY == "cals"
        for kind, *options in (item for group in inputs.values() for item in group.values()):
            assert isinstance(kind, list) or kind in {"CALS_MODEL", "IMAGE", "AUDIO", "FLOAT", "STRING"}
            assert len(options) <= 1
            assert all(isinstance(option, dict) for option in options)
            if isinstance(kind, list) and options:
                assert options[0]["default"] in kind


def test_the_example_workflow_fits_the_nodes(package: ModuleType) -> None:
    workflow = json.loads((FOLDER / "workflow.json").read_text(encoding="utf-8"))
    ours = {number: node for number, node in workflow.items() if node["class_type"].startswith("Cals")}
    assert {node["class_type"] for node in ours.values()} <= package.NODE_CLASS_MAPPINGS.keys()
    for node in ours.values():
        inputs = package.NODE_CLASS_MAPPINGS[node["class_type"]].INPUT_TYPES()
        given = node["inputs"]
        assert inputs["required"].keys() <= given.keys() <= inputs["required"].keys() | inputs["optional"].keys()
        for name, value in given.items():
            kind = (inputs["required"] | inputs["optional"])[name][0]
            if isinstance(value, list) and value[0] in ours:
                returned = package.NODE_CLASS_MAPPINGS[ours[value[0]]["class_type"]].RETURN_TYPES
                assert returned[value[1]] == kind
            elif isinstance(kind, list):
                assert value in kind
    assert {link[0] for node in workflow.values() for link in node["inputs"].values() if isinstance(link, list)} <= {
        *workflow
    }


def test_images_keep_all_but_the_mouth(package: ModuleType, model: Any, audio: dict[str, Any]) -> None:
    node = package.NODE_CLASS_MAPPINGS["CalsLipSyncImages"]()
    images = read_images(6) * 0.999  # values between the levels of a byte
    result, report = node.generate(model, images, audio, 25.0, silence="drive")
    assert result.shape == images.shape
    assert result.dtype == images.dtype
    changed = (result != images).any(dim=-1)
    assert 0 < float(changed.float().mean()) < 0.3
    assert not bool(changed[:, :80].any())  # the top of the picture
    assert report.endswith("6 of 6 pictures have another mouth")
    assert report.startswith("debug (")
    with pytest.raises(ConfigError, match="waveform"):
        node.generate(model, images, {"waveform": torch.zeros(0), "sample_rate": 16_000}, 25.0)


def test_a_video_is_written_and_its_inputs_are_checked(
    package: ModuleType, model: Any, audio: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = ModuleType("folder_paths")
    folders.get_input_directory = lambda: str(EXAMPLES)  # type: ignore[attr-defined]
    folders.get_output_directory = lambda: str(tmp_path)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "folder_paths", folders)
    shown: list[int] = []

    class ProgressBar:
        def __init__(self, total: int) -> None:
            assert total > 0

        def update_absolute(self, value: int, total: int) -> None:
            assert value <= total
            shown.append(value)

    utils = ModuleType("comfy.utils")
    utils.ProgressBar = ProgressBar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "comfy.utils", utils)
    node = package.NODE_CLASS_MAPPINGS["CalsLipSyncVideo"]
    assert node.VALIDATE_INPUTS("grid-s20.mp4") is True
    assert "no file" in node.VALIDATE_INPUTS("none.mp4")
    assert node.IS_CHANGED("grid-s20.mp4", out="a") == node.IS_CHANGED("grid-s20.mp4", out="b") != "none"
    answer = node().generate(model, "grid-s20.mp4", audio, "said.mp4")
    path, report = answer["result"]
    assert Path(path) == tmp_path / "said.mp4"
    assert "generated" in report
    assert float(probe(path).duration_s) == pytest.approx(1.0, abs=0.1)
    assert shown == sorted(shown)
    assert shown
    with pytest.raises(ConfigError, match="expected a file in"):
        node().generate(model, "grid-s20.mp4", audio, "../out.mp4")
