"""Check the installed wheel: `make package` runs this in the environment that has it and nothing of the clone.

It generates a video with the model that ships, and looks into wheel and sdist.
"""

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[1]
IN_WHEEL = (
    "cals/py.typed",
    "cals/weights/grid-small/model.safetensors",
    "cals/weights/avsr-grid-small/model.safetensors",
    "cals/weights/whisper-tiny-en/LICENSE",
    "cals/weights/silero-vad/model.safetensors",
    "cals/weights/silero-vad/LICENSE",
)
IN_SDIST = ("tests/test_readme.py", "examples/speech.wav", "benchmarks/generate.py", "docs/index.md", "Makefile")


def main() -> None:
    wheel, sdist = next((ROOT / "dist").glob("*.whl")), next((ROOT / "dist").glob("*.tar.gz"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    missing = [name for name in IN_WHEEL if name not in names]
    strange = [name for name in names if not name.startswith("cals")]
    assert not missing, f"{wheel.name}: expected {missing} in it"
    assert not strange, f"{wheel.name}: expected the package alone, found {strange}"
    with tarfile.open(sdist) as tar:
        in_sdist = {name.partition("/")[2] for name in tar.getnames()}
    missing = [name for name in IN_SDIST if name not in in_sdist]
    assert not missing, f"{sdist.name}: expected {missing} in it"

    installed = Path(str(files("cals")))
    assert ROOT / "src" not in installed.parents, f"expected the installed wheel, found the clone's {installed}"
    with tempfile.TemporaryDirectory() as folder:
        cals = str(Path(sys.executable).with_name("cals"))
        command = [cals, "generate", "--out", "speaking.mp4"]
        command += ["--face", str(ROOT / "examples/grid-s20.mp4"), "--audio", str(ROOT / "examples/speech.wav")]
        subprocess.run(command, cwd=folder, check=True)
        assert (Path(folder) / "speaking.mp4").stat().st_size > 10_000
        subprocess.run([cals, "verify", "speaking.mp4"], cwd=folder, check=True)
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {sdist.name}: {sdist.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
