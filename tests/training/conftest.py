"""A prepared synthetic corpus, whose mouths open with the loudness of the audio, and runs on it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import drawn_face
from cals.cli import main
from cals.data import noises
from cals.data.augment import FaceAugment, VoiceAugment
from cals.data.rooms import RoomAugment
from cals.data.segments import encode_crops
from cals.data.shards import Sample, write_shard
from cals.face.landmarks import MOUTH_INNER
from cals.training.run_log import RunLog
from cals.types import F32

PLAIN: dict[str, Any] = {
    "voice": VoiceAugment(probability=0),
    "room": RoomAugment(reverb=0, drift=0),
    "face": FaceAugment(
        **dict.fromkeys(("turn_deg", "scale", "aspect", "shift", "bumps", "gain", "colour", "gamma"), 0.0),
        **dict.fromkeys(("blur", "noise", "jpeg"), 0.0),
        flip=False,
    ),
}
"""Config changes that disable augmentation."""
FRAMES = 60
WIDEST_PX = 20


def drawn_mesh(opening: float, seed: int) -> F32:
    """Build landmarks of a face whose width depends on the seed, with a mouth opening from 0 to 1."""
    wide = 1 + 0.04 * np.sin(seed)
    points = drawn_face.points(WIDEST_PX * opening, 0.5 * opening)
    return np.asarray((points - (64, 0, 0)) * (wide, 1, wide) + (64, 0, 0), dtype=np.float32)


def draw_sample(key: str, seed: int) -> Sample:
    """Build a clip: a face of one colour, a dark mouth, and a tone whose loudness is the opening."""
    rng = np.random.default_rng(seed)
    steps = np.convolve(rng.normal(size=FRAMES + 8), np.hanning(5), mode="valid")[:FRAMES]
    opening = np.clip(0.4 + 0.3 * steps, 0.02, 1.0)
    skin = rng.integers(120, 200, size=3)
    crops, landmarks = [], []
    for value in opening:
        crop = np.full((128, 128, 3), skin, np.uint8)
        mesh = drawn_mesh(float(value), seed)
        outline = np.rint(mesh[list(MOUTH_INNER), :2]).astype(np.int32)
        cv2.fillPoly(crop, [outline], (60, 10, 20), cv2.LINE_AA)
        crops.append(crop)
        landmarks.append(mesh)
    time_s = np.arange(FRAMES * 640) / 16000
    pitch = rng.uniform(150, 400)
    wav = 0.5 * np.sin(2 * np.pi * pitch * time_s) * np.repeat(opening, 640) + rng.normal(0, 1e-3, FRAMES * 640)
    facts = {"clip": key, "speaker": key.split("-")[0], "frames": FRAMES, "words": None}
    return Sample(
        key=key,
        crops=encode_crops(crops, 25),
        wav=wav.astype(np.float32),
        landmarks=np.stack(landmarks).astype(np.float16),
        facts=facts,
    )


@pytest.fixture(scope="session", autouse=True)
def few_noises() -> Iterator[None]:
    """Reduce the noise bank to one sound per kind: generating all of them takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noises, "_COUNT", 5)
        yield


@pytest.fixture(scope="session", autouse=True)
def few_plots() -> Iterator[None]:
    """Plot only the curves of runs called `sync`: a plot takes longer than these few steps."""
    plot_curves = RunLog.plot_curves

    def plot_sync(log: RunLog, *, every_s: float = 0.0) -> None:
        if log._curves.parent.name == "sync":
            plot_curves(log, every_s=every_s)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "plot_curves", plot_sync)
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare eight clips of two speakers, with `splits.json` beside the manifest."""
    folder = tmp_path_factory.mktemp("prepared")
    samples = [draw_sample(f"{speaker}-{i}", 10 * i + ord(speaker)) for speaker in "ab" for i in range(4)]
    write_shard(folder / "shard-00000.tar", samples)
    lines = [json.dumps({"key": s.key, "shard": "shard-00000.tar"} | s.facts) for s in samples]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    names = [s.key for s in samples]
    splits = {"train": names[:3] + names[4:6], "val_seen": names[3:4], "val_unseen": names[6:]}
    (folder / "splits.json").write_text(json.dumps(splits))
    return folder


@pytest.fixture(scope="session")
def sync_run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train `sync-debug`; returns the run directory."""
    run = tmp_path_factory.mktemp("runs") / "sync"
    splits = str(corpus / "splits.json")
    main(["train", "sync", "sync-debug", "--corpus", str(corpus), "--run", str(run), "--splits", splits])
    return run


@pytest.fixture(scope="session")
def a2l_run(corpus: Path, sync_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train `a2l-debug`; returns the run directory."""
    run = tmp_path_factory.mktemp("runs") / "a2l"
    torch.manual_seed(0)  # its first weights; those of the sync encoders are told by their preset's seed
    arguments = ["train", "a2l", "a2l-debug", "--corpus", str(corpus), "--run", str(run)]
    main([*arguments, "--splits", str(corpus / "splits.json"), "--sync", str(sync_run / "model")])
    return run
