"""Cache of what a video's face costs: its tracking and the person's mouths, for further speeches of the same video."""

import hashlib
import json
import logging
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import cals
from cals.errors import ConfigError, MediaError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.landmarks import N_POINTS
from cals.files import AtomicFile, describe_os_error
from cals.media.frame import Frame
from cals.types import Box, CropTransform, TrackedFace

_log = logging.getLogger(__name__)

FORMAT = 2
LIMIT_BYTES = 4 << 30
"""Size of the folder; beyond it the files that were not used for the longest time are removed."""
_CHUNK_FRAMES = 256
_FACTS = "facts.json"
_ROW = np.dtype(
    [
        ("source_s", "i8", 2),  # numerator and denominator
        ("valid", "?"),
        ("track", "i4"),
        ("cut", "?"),
        ("score", "f8"),
        ("has_box", "?"),
        ("box", "i4", 4),
        ("skip_reason", "U32"),
        ("has_view", "?"),
        ("matrix", "f8", (2, 3)),
        ("landmarks", "f4", (N_POINTS, 3)),
    ]
)
"""One frame, 5.8 kB."""
_DAMAGE = (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, RuntimeError, zlib.error)


class FaceReplay:
    """The faces of a video as they were tracked before; frames come in the same order."""

    def __init__(self, path: Path, key: dict[str, Any], crop_px: int) -> None:
        """Open a file; FileNotFoundError where there is none, one of `_DAMAGE` where it is damaged."""
        self._path, self._crop_px = path, crop_px
        self._archive = zipfile.ZipFile(path)
        try:
            if self._archive.testzip() is not None:
                raise ValueError("a checksum is wrong")
            facts = json.loads(self._archive.read(_FACTS))
            if facts["key"] != key:
                raise ValueError("it is of another video")
            self.end_s = Fraction(facts["end_s"])
            self._chunks, self._groups = int(facts["chunks"]), list[str](facts["groups"])
        except BaseException:
            self._archive.close()
            raise
        self._rows = chain.from_iterable(self._read_chunks())

    def read(self, frame: Frame) -> tuple[TrackedFace, CropTransform | None]:
        """Return the face of the next frame, and its transform where it has a view."""
        row: Any = next(self._rows, None)
        if row is None or Fraction(*row["source_s"].tolist()) != frame.source_s:
            self._path.unlink(missing_ok=True)
            raise MediaError(
                f"{self._path}: expected the faces of frame {frame.index}, found others; the file was removed, run the "
                "same command again"
            )
        face = TrackedFace(
            index=frame.index,
            time_s=frame.time_s,
            valid=bool(row["valid"]),
            track=int(row["track"]),
            cut=bool(row["cut"]),
            score=float(row["score"]),
            box=Box(*row["box"].tolist()) if row["has_box"] else None,
            landmarks=row["landmarks"].copy() if row["valid"] else np.zeros((0, 3), np.float32),
            skip_reason=str(row["skip_reason"]) or None,
        )
        return face, CropTransform(row["matrix"].copy(), self._crop_px) if row["has_view"] else None

    def read_groups(self) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        """Yield the groups of arrays that `FaceRecorder.write_group` wrote, with their names."""
        for group in self._groups:
            names = [name for name in self._archive.namelist() if name.startswith(f"{group}/")]
            yield group, {name.removeprefix(f"{group}/").removesuffix(".npy"): self._read_array(name) for name in names}

    def _read_chunks(self) -> Iterator[NDArray[Any]]:
        for number in range(self._chunks):
            rows = self._read_array(_name_chunk(number))
            if rows.dtype != _ROW:
                raise MediaError(f"{self._path}: expected rows of faces, found others; remove the file")
            yield rows

    def _read_array(self, name: str) -> NDArray[Any]:
        with self._archive.open(name) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))

    def commit(self) -> None:
        """Note that the file was used."""
        with suppress(OSError):
            os.utime(self._path)

    def close(self) -> None:
        self._archive.close()


class FaceRecorder:
    """Writes the faces of a video while they are tracked; a disk that fails ends the recording, not the job."""

    def __init__(self, path: Path, key: dict[str, Any], limit_bytes: int) -> None:
        self._key, self._limit_bytes = key, limit_bytes
        self._rows: list[NDArray[Any]] = []
        self._chunks, self._groups, self._end_s = 0, list[str](), Fraction(0)
        self._file: AtomicFile | None = AtomicFile(path)
        self._archive = zipfile.ZipFile(self._file.partial, "w")

    def write(self, frame: Frame, face: TrackedFace, transform: CropTransform | None) -> None:
        """Add the next frame; `transform` is None where it has no view."""
        row = np.zeros((), _ROW)
        source_s = frame.source_s.as_integer_ratio()
        row["source_s"], row["valid"], row["track"], row["cut"] = source_s, face.valid, face.track, face.cut
        row["score"], row["has_box"], row["skip_reason"] = face.score, face.box is not None, face.skip_reason or ""
        if face.box is not None:
            row["box"] = face.box
        if face.valid:
            row["landmarks"] = face.landmarks
        if transform is not None:
            row["has_view"], row["matrix"] = True, transform.matrix
        self._rows.append(row)
        self._end_s = max(self._end_s, frame.time_s + frame.duration_s)
        if len(self._rows) == _CHUNK_FRAMES:
            self._write_rows()

    def write_group(self, group: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add arrays under the name of a group."""
        self._groups.append(group)
        for name, array in arrays.items():
            self._write_array(f"{group}/{name}.npy", array)

    def _write_rows(self) -> None:
        if self._rows:
            self._write_array(_name_chunk(self._chunks), np.stack(self._rows))
            self._rows, self._chunks = [], self._chunks + 1

    def _write_array(self, name: str, array: NDArray[Any]) -> None:
        if self._file is not None:
            try:
                with self._archive.open(name, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
            except OSError as error:
                self._give_up(self._file, error)

    def _give_up(self, file: AtomicFile, error: OSError) -> None:
        _log.warning("%s: faces are not kept, since writing fails: %s", file.path.parent, describe_os_error(error))
        self.close()

    def commit(self) -> None:
        """Finish the file after the last frame, and remove old ones where the folder grew too large."""
        self._write_rows()
        if self._file is None:
            return
        facts = {"key": self._key, "end_s": str(self._end_s), "chunks": self._chunks, "groups": self._groups}
        try:
            self._archive.writestr(_FACTS, json.dumps(facts))
            self._archive.close()
            self._file.commit()
            _remove_oldest(self._file.path.parent, self._limit_bytes)
        except OSError as error:
            self._give_up(self._file, error)

    def close(self) -> None:
        """Discard what is unfinished."""
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError, ValueError):  # of an archive that is cut short
                self._archive.close()
            file.discard()


class FaceCache:
    """A folder with a file for each video that was tracked; workers and commands may share it.

    A file is found by the video's path, size and time of modification (to hash it would take as long as to decode it),
    the options that faces depend on, the model, the face networks and the versions of the software.
    """

    def __init__(self, folder: str | Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder, self._limit_bytes = Path(folder), limit_bytes
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder}: expected a folder for the cache, found {describe_os_error(error)}; name another"
            ) from error

    def open(self, key: dict[str, Any], until_s: Fraction, crop_px: int) -> FaceReplay | FaceRecorder | None:
        """Open the faces of a video that reach `until_s` on the output's clock, else a file to record them in.

        A damaged file is recorded anew, with a warning. None where the folder cannot be written to.
        """
        key = json.loads(json.dumps({"format": FORMAT, **key}))
        path = self.folder / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]}.npz"
        try:
            replay = FaceReplay(path, key, crop_px)
            if replay.end_s >= until_s:
                return replay
            replay.close()  # an earlier speech was shorter
        except FileNotFoundError:
            pass
        except _DAMAGE as error:
            _log.warning("%s: damaged (%s); tracking the face again", path, error)
        try:
            return FaceRecorder(path, key, self._limit_bytes)
        except OSError as error:
            _log.warning("%s: faces are not kept, since writing fails: %s", self.folder, describe_os_error(error))
            return None


def describe_video(path: Path, detector: BlazeFaceMesh, models: FaceModels) -> dict[str, Any]:
    """Describe all that the faces in a video depend on, but the options and the model."""
    stat, torch_version = path.stat(), getattr(sys.modules.get("torch"), "__version__", None)
    return {
        "video": [os.path.realpath(path), stat.st_size, stat.st_mtime_ns],
        "detector": [detector.runtime, hashlib.sha256(models.detection + models.mesh).hexdigest()],
        "software": [cals.__version__, cv2.__version__, np.__version__, torch_version],
    }


def _name_chunk(number: int) -> str:
    return f"faces/{number:05d}.npy"


def _remove_oldest(folder: Path, limit_bytes: int) -> None:
    """Remove the files that were used least recently, but not the last one, until `limit_bytes` are kept."""
    files: list[tuple[os.stat_result, Path]] = []
    for path in folder.glob("*.npz"):
        with suppress(OSError):  # another worker removed it
            files.append((path.stat(), path))
    files.sort(key=lambda file: file[0].st_mtime_ns)
    total = sum(stat.st_size for stat, _ in files)
    for stat, path in files[:-1]:
        if total <= limit_bytes:
            break
        path.unlink(missing_ok=True)
        total -= stat.st_size
