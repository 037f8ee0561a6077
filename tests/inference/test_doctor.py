"""The report for bugs: what it finds, that it fails where something is broken, and that it names nobody."""

import getpass
import json
import platform
from pathlib import Path

import pytest

import cals
from cals import hub
from cals.cli import main
from cals.errors import CheckpointError
from cals.inference import doctor

pytestmark = pytest.mark.slow


def test_versions_devices_codecs_and_models(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--no-self-test", "--json"])
    text = capsys.readouterr().out
    found = {item["name"]: item["found"] for item in json.loads(text)}
    assert found["cals"] == cals.__version__
    assert found["codec h264"] == "yes"
    assert found["model grid-small"].startswith("intact")
    assert "processors" in found["cpu"]
    assert str(Path.home()) not in text
    assert platform.node() not in text
    assert getpass.getuser() not in text


def test_a_damaged_model_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "FRONT_END_WEIGHTS", tmp_path / "gone")
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--no-self-test"])
    assert end.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines if line.startswith("FAIL")] == ["gone"]


def test_self_test_generates_mouths_on_a_drawn_face() -> None:
    try:
        hub.read_face_models()
    except CheckpointError as error:
        pytest.skip(f"face models are not in the cache and cannot be fetched: {error}")
    text = doctor.run_self_test()
    assert text.startswith("50 frames generated, 0 passed through")
    assert text.endswith("manifest: intact")
