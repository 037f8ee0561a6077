"""Samples in tar shards in the layout of webdataset: written whole, checked when read."""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.errors import DataError
from cals.files import describe_os_error, replace_atomically
from cals.types import F32

CROPS, SOUND, LANDMARKS, FACTS = "crops.mp4", "wav.npy", "landmarks.npy", "json"


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """One training clip: aligned crops at 25 fps, their sound and landmarks."""

    key: str
    crops: bytes = field(repr=False)
    """The crops as an mp4."""
    wav: F32 = field(repr=False)
    """[n] at 16 kHz; sample 0 belongs to frame 0 (in the parts of an unfinished corpus to one before it)."""
    landmarks: NDArray[np.float16] = field(repr=False)
    """[t 468 3] in crop pixels."""
    facts: dict[str, Any]
    """Speaker, frames, words, offset and source."""


@contextmanager
def convert_write_errors(path: Path) -> Iterator[None]:
    """Raise DataError for a full disk or a folder that cannot be written to."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: expected to write it, found {describe_os_error(error)}; free some space, or choose another --out"
        ) from error


def write_shard(path: Path, samples: Iterable[Sample]) -> int:
    """Write one tar, whole or not at all; return its number of samples. DataError when it cannot be written."""
    count = 0
    with convert_write_errors(path), replace_atomically(path) as partial, tarfile.open(partial, "w") as tar:
        for sample in samples:
            pcm = np.clip(np.rint(sample.wav * 32767), -32768, 32767).astype(np.int16)
            parts = {
                CROPS: sample.crops,
                SOUND: _encode_npy(pcm),
                LANDMARKS: _encode_npy(sample.landmarks),
                FACTS: json.dumps(sample.facts).encode(),
            }
            for suffix, data in parts.items():
                entry = tarfile.TarInfo(f"{sample.key}.{suffix}")
                entry.size = len(data)  # no time, no owner: the same input gives the same bytes
                tar.addfile(entry, io.BytesIO(data))
            count += 1
    return count


def read_shard(path: Path) -> Iterator[Sample]:
    """Iterate over the samples of one tar; DataError when it is damaged or a sample is incomplete."""
    try:
        with tarfile.open(path) as tar:
            parts: dict[str, bytes] = {}
            key = ""
            for entry in tar:
                name, _, suffix = entry.name.partition(".")
                if name != key and parts:
                    yield _parse_sample(path, key, parts)
                    parts = {}
                file = tar.extractfile(entry)
                key, parts[suffix] = name, file.read() if file else b""
            if parts:
                yield _parse_sample(path, key, parts)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path}: expected a whole shard, found {error}; prepare the corpus again") from error


def _parse_sample(path: Path, key: str, parts: dict[str, bytes]) -> Sample:
    missing = {CROPS, SOUND, LANDMARKS, FACTS} - parts.keys()
    if missing:
        raise DataError(f"{path}: expected {sorted(missing)} of {key}, found none; prepare the corpus again")
    try:
        pcm, landmarks = (np.load(io.BytesIO(parts[name]), allow_pickle=False) for name in (SOUND, LANDMARKS))
        facts = json.loads(parts[FACTS])
    except ValueError as error:
        raise DataError(f"{path}: expected a whole sample {key}, found {error}; prepare the corpus again") from error
    return Sample(key=key, crops=parts[CROPS], wav=pcm.astype(np.float32) / 32767, landmarks=landmarks, facts=facts)


def _encode_npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
