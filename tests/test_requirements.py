"""The requirements of an install without torch are those of the package but for torch, and the runtime."""

import tomllib

from rooms import ROOT


def test_light_requirements_are_those_of_the_package_without_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements-onnx.txt").read_text(encoding="utf-8").splitlines()
    found = {line for line in lines if not line.startswith("#")}
    extras = project["optional-dependencies"]
    kept = {item for item in project["dependencies"] if not item.startswith("torch")}
    assert found == kept | set(extras["onnx"])
    assert len(kept) == len(project["dependencies"]) - 1
