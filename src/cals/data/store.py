"""Prepared clips in memory, decoded on first access."""

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.data.shards import Sample, read_shard
from cals.data.voice_bank import VoiceBank
from cals.errors import DataError
from cals.features.mel import MelConfig, compute_log_mel
from cals.types import F32, U8

MAX_DECODED_BYTES = 32 << 30
"""Most bytes of decoded pictures in a store; beyond them the least recently used clips are dropped."""


@dataclass(frozen=True, eq=False)
class LoadedClip:
    """One clip ready for training."""

    key: str
    speaker: str
    crops: U8 = field(repr=False)
    """[t h w 3]"""
    mel: Tensor = field(repr=False)
    """[m f] in dB, m = t * mels_per_frame."""
    wav: F32 = field(repr=False)
    """[n] at 16 kHz."""
    landmarks: F32 = field(repr=False)
    """[t 468 3] in crop pixels."""
    facts: dict[str, Any] = field(repr=False)

    @property
    def frames(self) -> int:
        return len(self.crops)


class ClipStore:
    """Clips of a prepared folder, all of them or those whose source names are in `names`.

    Compressed samples are read at once (130 kB a second of video); decoded ones are kept up to `MAX_DECODED_BYTES`.
    `voices` is a folder of `build_voice_bank` for this corpus. Raises DataError when the folder is not prepared, no
    clip of `names` is in it, or the voices are of another corpus.
    """

    def __init__(
        self, folder: Path, mel: MelConfig, names: set[str] | None = None, *, voices: Path | None = None
    ) -> None:
        manifest = folder / "manifest.jsonl"
        if not manifest.is_file():
            raise DataError(f"{folder}: expected a prepared folder with manifest.jsonl, found none; run `cals prepare`")
        lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
        chosen = {line["key"] for line in lines if names is None or line["clip"] in names}
        if not chosen:
            raise DataError(f"{folder}: expected clips of the split, found none of {len(lines)} in it")
        shards = sorted({line["shard"] for line in lines if line["key"] in chosen})
        self.features = mel
        self._samples: list[Sample] = [
            sample for shard in shards for sample in read_shard(folder / shard) if sample.key in chosen
        ]
        self._loaded: dict[int, LoadedClip] = {}
        self._decoded_bytes = 0
        self._mels: dict[int, Tensor] = {}
        shard_of = {line["key"]: line["shard"] for line in lines if line["key"] in chosen}
        self._voices = None if voices is None else VoiceBank(voices, mel, shard_of)

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def speakers(self) -> list[str]:
        """The speaker of every clip, in order."""
        return [str(sample.facts["speaker"]) for sample in self._samples]

    @property
    def clip_names(self) -> set[str]:
        """Source names of the clips."""
        return {str(sample.facts["clip"]) for sample in self._samples}

    def key(self, index: int) -> str:
        """Return a clip's name in the shards."""
        return self._samples[index].key

    def frames(self, index: int) -> int:
        """Return the number of frames of a clip, without decoding it."""
        return int(self._samples[index].facts["frames"])

    def landmarks(self, index: int) -> F32:
        """Return a clip's landmarks [t 468 3] in crop pixels, without decoding it."""
        return self._samples[index].landmarks.astype(np.float32)

    def decode_crops(self, index: int) -> U8:
        """Decode a clip's crops [t h w 3], or return them if the clip is loaded; they are not kept."""
        if index in self._loaded:
            return self._loaded[index].crops
        return decode_crops(self._samples[index].crops, self.frames(index))

    def mel(self, index: int) -> Tensor:
        """Return a clip's mel [m f] in dB, without decoding its pictures."""
        if index not in self._mels:
            self._mels[index] = compute_log_mel(torch.from_numpy(self._samples[index].wav[None]), self.features)[0]
        return self._mels[index]

    def __getitem__(self, index: int) -> LoadedClip:
        clip = self._loaded.pop(index, None)
        if clip is None:
            sample = self._samples[index]
            clip = LoadedClip(
                key=sample.key,
                speaker=str(sample.facts["speaker"]),
                crops=self.decode_crops(index),
                mel=self.mel(index),
                wav=sample.wav,
                landmarks=sample.landmarks.astype(np.float32),
                facts=sample.facts,
            )
            self._decoded_bytes += clip.crops.nbytes
            while self._loaded and self._decoded_bytes > MAX_DECODED_BYTES:
                self._decoded_bytes -= self._loaded.pop(next(iter(self._loaded))).crops.nbytes
        self._loaded[index] = clip  # as the last one
        return clip

    def load_variants(self, index: int) -> list[Tensor]:
        """Return the clip's mel [m f] and, with `voices`, those in other voices, all in time with the crops."""
        mel = self.mel(index)
        return [mel] if self._voices is None else [mel, *self._voices[self.key(index)]]


def decode_crops(video: bytes, frames: int) -> U8:
    """Decode all crops [t h w 3] of a clip; by OpenCV, so that training needs no PyAV where there is none."""
    handle, name = tempfile.mkstemp(suffix=".mp4")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(video)
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        pictures: list[NDArray[Any]] = []
        while True:
            has_frame, picture = capture.read()
            if not has_frame:
                break
            pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        capture.release()
    finally:
        Path(name).unlink()
    if len(pictures) != frames:
        raise DataError(f"crops: expected {frames} frames, found {len(pictures)}; prepare the corpus again")
    return np.stack(pictures).astype(np.uint8, copy=False)


def count_split_clips(path: Path) -> dict[str, int]:
    """Count the clips of each part of a JSON file {part: [names]}; DataError where it is none."""
    return {part: len(names) for part, names in _read_splits(path).items()}


def load_split_names(path: Path, *parts: str) -> set[str]:
    """Read the clip names of some parts of a JSON file {part: [names]}; DataError for a part that is not in it."""
    document = _read_splits(path)
    missing = [part for part in parts if part not in document]
    if missing:
        raise DataError(f"{path}: expected the parts {', '.join(missing)}, found {', '.join(document)}")
    return {name for part in parts for name in document[part]}


def _read_splits(path: Path) -> dict[str, list[str]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a JSON file of splits, found {error}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected clip names by part, found a {type(document).__name__}; write an object")
    return document
