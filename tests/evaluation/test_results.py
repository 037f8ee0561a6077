"""Files of results appear together, or not at all."""

import json
import math
from pathlib import Path

import pytest

from cals.errors import MediaError
from cals.evaluation.results import open_results, write_json

NAMES = ("a.json", "a.md")


def test_results_appear_together(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with open_results(out, NAMES, force=False) as (document, text):
        write_json(document, {"value": 0.5})
        text.write_text("0.5")
        assert not any((out / name).exists() for name in NAMES)
    assert json.loads((out / "a.json").read_text()) == {"value": 0.5}
    assert sorted(path.name for path in out.iterdir()) == list(NAMES)


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"), open_results(tmp_path, NAMES, force=False) as (document, _):
        write_json(document, {"value": math.nan})
    assert list(tmp_path.iterdir()) == []


def test_earlier_results_and_inputs_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("mine")
    with pytest.raises(MediaError, match="--force"), open_results(tmp_path, NAMES, force=False):
        pass
    reserved = (tmp_path / "a.md",)
    with pytest.raises(MediaError, match="input"), open_results(tmp_path, NAMES, force=True, reserved=reserved):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.md"]
    assert (tmp_path / "a.md").read_text() == "mine"
