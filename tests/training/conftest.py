"""A prepared corpus that is drawn: mouths that open with the loudness of their sound."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from cals.data.segments import encoded
from cals.data.shards import Sample, write_shard

FRAMES = 60


def draw_sample(key: str, seed: int) -> Sample:
    """A face of one colour, an ellipse for a mouth, and a tone as loud as it is open."""
    rng = np.random.default_rng(seed)
    steps = np.convolve(rng.normal(size=FRAMES + 8), np.hanning(5), mode="valid")[:FRAMES]
    opening = np.clip(0.4 + 0.3 * steps, 0.02, 1.0)
    skin = rng.integers(120, 200, size=3)
    crops = []
    for value in opening:
        crop = np.full((128, 128, 3), skin, np.uint8)
        cv2.ellipse(crop, (64, 90), (18, max(1, int(16 * value))), 0, 0, 360, (60, 10, 20), -1, cv2.LINE_AA)
        crops.append(crop)
    time_s = np.arange(FRAMES * 640) / 16000
    pitch = rng.uniform(150, 400)
    wav = 0.5 * np.sin(2 * np.pi * pitch * time_s) * np.repeat(opening, 640) + rng.normal(0, 1e-3, FRAMES * 640)
    facts = {"clip": key, "speaker": key.split("-")[0], "frames": FRAMES, "words": None}
    return Sample(
        key=key,
        crops=encoded(crops, 25),
        wav=wav.astype(np.float32),
        landmarks=np.zeros((FRAMES, 468, 3), np.float16),
        facts=facts,
    )


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips of two speakers with `splits.json` beside the manifest."""
    folder = tmp_path_factory.mktemp("prepared")
    samples = [draw_sample(f"{speaker}-{i}", 10 * i + ord(speaker)) for speaker in "ab" for i in range(4)]
    write_shard(folder / "shard-00000.tar", samples)
    lines = [json.dumps({"key": s.key, "shard": "shard-00000.tar"} | s.facts) for s in samples]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    names = [s.key for s in samples]
    splits = {"train": names[:3] + names[4:6], "val_seen": names[3:4], "val_unseen": names[6:]}
    (folder / "splits.json").write_text(json.dumps(splits))
    return folder
