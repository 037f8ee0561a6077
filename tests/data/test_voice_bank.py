import importlib.util
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import torch
from buzzing import prepared

from cals.data.store import ClipStore
from cals.data.voice_bank import BankConfig, build_voice_bank
from cals.data.windows import build_step_rng, sample_mel, sample_sync_windows, sample_windows
from cals.errors import ConfigError, DataError
from cals.features.mel import MelConfig

pytestmark = pytest.mark.slow

needs_world = pytest.mark.skipif(importlib.util.find_spec("pyworld") is None, reason="needs pyworld: cals[voices]")


class Killed(ThreadPoolExecutor):
    """A pool whose first worker dies."""

    def __init__(self, **_: object) -> None:
        super().__init__(max_workers=1)

    def submit(self, *_: object, **__: object) -> Future[None]:  # type: ignore[override]
        lost: Future[None] = Future()
        lost.set_exception(BrokenProcessPool())
        return lost


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("voices") / "corpus")


@pytest.fixture(scope="module")
def bank(corpus: Path) -> Path:
    build_voice_bank(corpus, corpus.parent / "bank", BankConfig(k=2))
    return corpus.parent / "bank"


@needs_world
def test_a_store_knows_a_clip_in_other_voices(corpus: Path, bank: Path) -> None:
    store = ClipStore(corpus, MelConfig(), voices=bank)
    variants = store.load_variants(1)
    assert len(variants) == 3
    torch.testing.assert_close(variants[0], store[1].mel)
    for other in variants[1:]:
        assert other.shape == variants[0].shape
        assert other.dtype == torch.float32
        assert float((other - variants[0]).abs().mean()) > 2
        curves = np.stack([np.asarray(mel.mean(dim=1)) for mel in (variants[0], other)])
        assert np.corrcoef(curves)[0, 1] > 0.8
    assert len(ClipStore(corpus, MelConfig()).load_variants(1)) == 1


@needs_world
def test_a_bank_that_was_stopped_goes_on(corpus: Path, bank: Path) -> None:
    whole = (bank / "shard-00001.safetensors").read_bytes()
    modified = (bank / "shard-00000.safetensors").stat().st_mtime_ns
    (bank / "shard-00001.safetensors").unlink()
    calls: list[tuple[int, int | None]] = []
    build_voice_bank(corpus, bank, BankConfig(k=2), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    assert (bank / "shard-00000.safetensors").stat().st_mtime_ns == modified
    assert (bank / "shard-00001.safetensors").read_bytes() == whole
    with pytest.raises(DataError, match="choose another folder"):
        build_voice_bank(corpus, bank, BankConfig(k=1))


@needs_world
def test_a_damaged_shard_of_voices_is_made_again(corpus: Path, bank: Path) -> None:
    path = bank / "shard-00001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    build_voice_bank(corpus, bank, BankConfig(k=2))
    assert path.read_bytes() == whole


def test_a_killed_worker_is_explained(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cals.workers.ProcessPoolExecutor", Killed)
    with pytest.raises(DataError, match="found one killed.*fewer --workers"):
        build_voice_bank(corpus, tmp_path / "bank", BankConfig(k=2), workers=2)


@needs_world
def test_workers_make_the_same_voices(corpus: Path, bank: Path, tmp_path: Path) -> None:
    build_voice_bank(corpus, tmp_path / "bank", BankConfig(k=2), workers=2)
    one, two = (ClipStore(corpus, MelConfig(), voices=folder).load_variants(2) for folder in (bank, tmp_path / "bank"))
    torch.testing.assert_close(one, two, rtol=0, atol=0)


@needs_world
def test_windows_are_cut_from_drawn_voices(corpus: Path, bank: Path) -> None:
    store = ClipStore(corpus, MelConfig(), voices=bank)
    batch = sample_sync_windows(store, build_step_rng(0, 0), clips=4, per_clip=2, frames=5, step=4)
    assert batch.mel.shape == (4, 2, 20, 80)
    sums = {round(float(sample_mel(store, 0, build_step_rng(0, step)).sum()), 2) for step in range(20)}
    assert len(sums) == 3
    windows = sample_windows(store, build_step_rng(0, 0), clips=2, frames=10, step=4)
    assert windows.mel.shape == (2, 40, 80)


def test_clips_that_are_all_too_short_are_named(corpus: Path) -> None:
    with pytest.raises(DataError, match="expected clips of 26 frames, found the longest of 25; prepare longer"):
        sample_windows(ClipStore(corpus, MelConfig()), build_step_rng(0, 0), clips=2, frames=26, step=4)


def test_one_voice_draws_nothing(corpus: Path) -> None:
    store, rng = ClipStore(corpus, MelConfig()), build_step_rng(0, 0)
    torch.testing.assert_close(sample_mel(store, 0, rng), store[0].mel)
    assert rng.random() == build_step_rng(0, 0).random()
    batch = sample_sync_windows(store, build_step_rng(0, 0), clips=2, per_clip=2, frames=5, step=4)
    assert batch.lower.shape == (2, 2, 5, 3, 16, 32)


@needs_world
def test_a_bank_of_something_else_is_refused(corpus: Path, bank: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"voices\.json"):
        ClipStore(corpus, MelConfig(), voices=tmp_path)
    with pytest.raises(DataError, match="of this mel"):
        ClipStore(corpus, MelConfig(bins=64), voices=bank)
    more = prepared(tmp_path / "more", clips=6)
    with pytest.raises(DataError, match="expected voices of a-4"):
        ClipStore(more, MelConfig(), voices=bank)
    with pytest.raises(DataError, match="cals prepare"):
        build_voice_bank(tmp_path, tmp_path / "bank", BankConfig())
    with pytest.raises(ConfigError, match="workers"):
        build_voice_bank(corpus, bank, BankConfig(k=2), workers=0)
