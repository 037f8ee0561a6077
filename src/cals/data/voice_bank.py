"""Voice conversion of every clip of a prepared corpus, done once: mels beside its shards, at no cost in training."""

import dataclasses
import functools
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cals.data.shards import Sample, convert_write_errors, read_shard
from cals.data.voices import VoiceChange, analyze_voice, sample_voice, synthesize_voice
from cals.errors import ConfigError, DataError
from cals.features.mel import MelConfig, compute_log_mel
from cals.files import replace_atomically
from cals.types import ProgressCallback
from cals.workers import Work, run_jobs

SETTINGS = "voices.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class BankConfig:
    """Number and kind of the other voices of every clip."""

    k: int = 3
    seed: int = 0
    voice: VoiceChange = field(default_factory=VoiceChange)
    mel: MelConfig = field(default_factory=MelConfig)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k: expected at least one other voice a clip, found {self.k}")

    @property
    def document(self) -> dict[str, Any]:
        """The config as written beside the voices."""
        document: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **dataclasses.asdict(self)}))
        return document


def build_voice_bank(
    corpus: Path, out: Path, config: BankConfig, *, workers: int = 1, progress: ProgressCallback | None = None
) -> None:
    """Write `out`/<shard>.safetensors with float16 mels [k m f] under each sample's key, for every shard of `corpus`.

    Complete shards are kept, so an interrupted run resumes; a sample's voices depend on its key alone. Takes about 60
    ms of one core per second of sound for k = 3. Raises DataError when the corpus is not prepared or `out` has other
    settings, ConfigError where pyworld is missing.
    """
    if workers < 1:
        raise ConfigError(f"workers: expected at least 1, found {workers}; give 1 or more")
    shards = sorted(corpus.glob("shard-*.tar"))
    if not shards:
        raise DataError(f"{corpus}: expected a prepared folder with shards, found none; run `cals prepare`")
    _claim_folder(out, config)
    pending = [shard for shard in shards if not _is_complete(out, shard)]
    done = len(shards) - len(pending)
    if progress:
        progress(done, len(shards))
    for number, _ in enumerate(_convert_shards(pending, out, config, workers), start=done + 1):
        if progress:
            progress(number, len(shards))


def _claim_folder(out: Path, config: BankConfig) -> None:
    """Write the settings into a new folder; DataError where it has other ones."""
    settings = out / SETTINGS
    if settings.is_file():
        if read_settings(out) != config.document:
            raise DataError(f"{out}: expected voices of the same settings, found others; choose another folder")
        return
    with convert_write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with replace_atomically(settings) as partial:
            partial.write_text(json.dumps(config.document, indent=2) + "\n", encoding="utf-8")


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of a bank; DataError where the folder is none."""
    try:
        document: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: expected a folder of voices with {SETTINGS}, found {error}") from error
    return document


def _convert_shards(shards: list[Path], out: Path, config: BankConfig, workers: int) -> Iterator[Path]:
    if workers == 1:
        yield from (_convert_shard(shard, out, config) for shard in shards)
        return
    make = functools.partial(_convert_shard, out=out, config=config)
    work = Work(start=torch.set_num_threads, arguments=(1,), run=make, items="shards")
    # spawned, since torch's threads do not survive a fork
    yield from run_jobs(work, shards, workers=workers, context=multiprocessing.get_context("spawn"))


def _convert_shard(shard: Path, out: Path, config: BankConfig) -> Path:
    mels = {sample.key: convert_voices(sample, config) for sample in read_shard(shard)}
    path = bank_path(out, shard.name)
    with convert_write_errors(path), replace_atomically(path) as partial:
        save_file(mels, partial, metadata={"source_bytes": str(shard.stat().st_size)})
    return path


def convert_voices(sample: Sample, config: BankConfig) -> Tensor:
    """Compute log-mels [k m f] of the sample in other voices, float16 (a sixteenth of a dB)."""
    rng = np.random.default_rng([config.seed, crc32(sample.key.encode())])
    parts = analyze_voice(sample.wav, config.mel.timing.sample_rate_hz)
    wavs = [synthesize_voice(parts, sample_voice(rng, config.voice, parts.median_hz)) for _ in range(config.k)]
    mels: Tensor = compute_log_mel(torch.from_numpy(np.stack(wavs)), config.mel)
    return mels.half()


def _is_complete(out: Path, shard: Path) -> bool:
    """Tell whether the shard's voices are complete and made from a shard of this size."""
    path = bank_path(out, shard.name)
    if not path.is_file():
        return False
    try:
        with _open_bank(path) as file:
            metadata: dict[str, str] = file.metadata() or {}
    except DataError:
        return False
    return metadata.get("source_bytes") == str(shard.stat().st_size)


def bank_path(folder: Path, shard: str) -> Path:
    """Return the file with the voices of a shard."""
    return (folder / shard).with_suffix(".safetensors")


@contextmanager
def _open_bank(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: expected the voices of a shard, found {error}; make them again") from error


class VoiceBank:
    """A folder of `build_voice_bank`, read from disk clip by clip.

    Raises DataError when it is none, was made with another mel, or lacks one of `keys` (key -> shard).
    """

    def __init__(self, folder: Path, mel: MelConfig, keys: dict[str, str]) -> None:
        settings = read_settings(folder)
        if settings.get("format") != FORMAT or settings.get("mel") != BankConfig(mel=mel).document["mel"]:
            raise DataError(f"{folder}: expected voices of this mel and format {FORMAT}, found others; make them again")
        self._folder, self._keys = folder, keys
        for shard in sorted(set(keys.values())):
            expected = {key for key, name in keys.items() if name == shard}
            with _open_bank(bank_path(folder, shard)) as file:
                missing = expected - set(file.keys())
            if missing:
                raise DataError(f"{folder}: expected voices of {min(missing)}, found none; make them again")

    def __getitem__(self, key: str) -> Tensor:
        """Return log-mels [k m f] of the clip `key` in other voices."""
        with _open_bank(bank_path(self._folder, self._keys[key])) as file:
            tensor: Tensor = file.get_tensor(key)
        return tensor.float()
