"""Holds the house to its plan: who may import whom, which library lives where, how long a piece may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from block_torch import BLOCK_TORCH
from rooms import FILES, SOURCE, find_room, read_imports

BASE = {"arrays", "timing", "types", "options", "errors", "files", "workers"}
LOWER = {"data", "face", "media", "models", "losses", "metrics", "features", "checkpoint", "hub", "nn"} | BASE
LOWER |= {"provenance"}

# Room -> the rooms it may import (itself included by the test).
MAY_IMPORT = {
    "arrays": set(),
    "errors": set(),
    "files": set(),
    "workers": {"errors"},
    "timing": {"errors"},
    "types": {"errors"},
    "options": {"errors"},
    "nn": BASE,
    "features": {"nn"} | BASE,
    "losses": {"nn"} | BASE,
    "metrics": {"nn"} | BASE,
    "media": BASE,
    "face": BASE,
    "hub": BASE,
    "checkpoint": BASE,
    "provenance": {"media", "cals"} | BASE,
    "models": {"nn", "features", "checkpoint", "face"} | BASE,  # face: names of the mesh's points
    "data": LOWER - {"models", "provenance"},
    "report": {"metrics", "face"} | BASE,
    "inference": LOWER | {"report", "cals"},
    "training": (LOWER - {"provenance"}) | {"report", "cals"},
    "evaluation": LOWER | {"inference", "report", "cals"},
    "cli": LOWER | {"inference", "training", "evaluation", "report", "serve", "web", "cals"},
    "web": LOWER | {"inference", "http_guard", "cals"},
    "serve": LOWER | {"inference", "http_guard", "cals"},
    "http_guard": set(),
    "__main__": {"cli"},
    "cals": {"errors", "options", "inference"},  # the public API in __init__.py, loaded lazily
}
ONLY_IN = {
    "av": {"media"},
    "tyro": {"cli"},
    "rich": {"cli"},
    "gradio": {"web"},
    "fastapi": {"serve", "web"},
    "starlette": {"serve"},
    "uvicorn": {"serve", "web"},
    "prometheus_client": {"serve"},
    "python_multipart": {"serve"},
    "sqlite3": {"serve"},
    "filelock": {"hub", "provenance", "training"},
    "platformdirs": {"hub", "provenance"},
    "c2pa": {"provenance"},
    "cryptography": {"provenance"},
    "ai_edge_litert": {"face"},
    "dlib": {"evaluation"},
    "pocketsphinx": {"evaluation"},
    "lightning": {"training"},
    "matplotlib": {"report"},
    "onnxruntime": {"inference"},
    "openvino": {"inference"},
    "torch": {
        "features",
        "nn",
        "models",
        "losses",
        "metrics",
        "data",
        "training",
        "inference",
        "evaluation",
        "checkpoint",
    },
}


def find_broken_rules(path: Path, room: str) -> list[str]:
    """Return the forbidden imports of a file of `room`."""
    found = []
    for name in read_imports(path):
        top, _, rest = name.partition(".")
        target = rest.split(".")[0] or "cals"
        if top == "cals" and target != room and target not in MAY_IMPORT[room]:
            found.append(name)
        if room not in ONLY_IN.get(top, {room}):
            found.append(name)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_follow_the_table(path: Path) -> None:
    room = find_room(path)
    assert room in MAY_IMPORT, f"{room} is a new room: give it a line in the table"
    assert find_broken_rules(path, room) == []


def test_a_forbidden_import_is_noticed(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(
        "import av, torch\nfrom cals import hub\nfrom cals.models.lips import LipModel\nimport cals.types\n"
    )
    assert find_broken_rules(sample, "face") == ["av", "torch", "cals.hub", "cals.models.lips"]
    assert find_broken_rules(sample, "inference") == ["av"]


def test_face_runtime_is_in_one_file() -> None:
    users = {path.name for path in FILES if "cv2.dnn" in path.read_text(encoding="utf-8")}
    users |= {path.name for path in FILES if any(name.startswith("ai_edge_litert") for name in read_imports(path))}
    assert users == {"detector.py"}


def test_matplotlib_is_opened_in_one_file() -> None:
    users = {path.name for path in FILES if any(name.split(".")[0] == "matplotlib" for name in read_imports(path))}
    assert users == {"plots.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_pieces_stay_small_and_quiet(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = (node.end_lineno or node.lineno) - node.body[0].lineno
            assert body <= 60, f"{node.name} is {body} lines"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, "bare except"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert find_room(path) == "cli", "library code logs, never prints"


def test_importing_cals_is_light() -> None:
    code = "import sys, cals, cals.cli; print([m for m in ('torch', 'cv2', 'av', 'c2pa') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]"


def test_other_runtimes_need_no_torch() -> None:
    code = f"{BLOCK_TORCH}\nimport cals.inference.lipsync, cals.inference.export_runtime"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
