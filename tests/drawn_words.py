"""A prepared corpus of synthetic mouths and tones: every word has its own shape and its own pitch."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np

from cals.data.segments import encode_crops
from cals.data.shards import Sample, write_shard

MOUTHS = {"bin": (26, 3), "now": (10, 14), "red": (26, 14), "at": (10, 3)}
"""Half width and half height of the open mouth, in pixels, in the middle of a word."""
PITCHES_HZ = {"bin": 300, "now": 600, "red": 1200, "at": 2400}
FRAMES, WORD_S = 44, 0.24
RATE_HZ, SAMPLES_PER_FRAME = 16_000, 640


def build_spoken_sample(key: str, seed: int, count: int = 5) -> Sample:
    """Build a sample of a face of one colour that says `count` words in any order."""
    rng = np.random.default_rng(seed)
    texts = [str(word) for word in rng.choice(list(MOUTHS), size=count)]
    words = [[round(0.2 + 0.28 * i, 3), round(0.2 + 0.28 * i + WORD_S, 3), text] for i, text in enumerate(texts)]
    skin = rng.integers(120, 200, size=3)
    crops = []
    for t in range(FRAMES):
        crop = np.full((128, 128, 3), skin, np.uint8)
        for start, end, text in words:
            share = np.sin(np.pi * np.clip(((t + 0.5) / 25 - start) / (end - start), 0, 1))
            if share > 0:
                wide, high = MOUTHS[text]
                axes = (round(8 + share * (wide - 8)), max(1, round(share * high)))
                cv2.ellipse(crop, (64, 90), axes, 0, 0, 360, (60, 10, 20), -1, cv2.LINE_AA)
        crops.append(crop)
    times_s = np.arange(FRAMES * SAMPLES_PER_FRAME) / RATE_HZ
    wav = 0.001 * rng.normal(size=len(times_s))
    for start, end, text in words:
        inside = (times_s >= start) & (times_s < end)
        wav += 0.3 * inside * np.sin(2 * np.pi * PITCHES_HZ[text] * times_s)
    facts = {"clip": key, "speaker": key.split("-")[0], "frames": FRAMES, "words": words, "text": " ".join(texts)}
    landmarks = np.zeros((FRAMES, 468, 3), np.float16)
    return Sample(key=key, crops=encode_crops(crops, 25), wav=wav.astype(np.float32), landmarks=landmarks, facts=facts)


def write_spoken_corpus(folder: Path) -> Path:
    """Write ten clips, two of them held out, and one of another speaker without a transcript; with `splits.json`."""
    samples = [build_spoken_sample(f"a-{i}", i) for i in range(10)]
    stranger = build_spoken_sample("b-0", 99)
    samples.append(dataclasses.replace(stranger, facts=stranger.facts | {"words": None, "text": None}))
    write_shard(folder / "shard-00000.tar", samples)
    lines = [json.dumps({"key": s.key, "shard": "shard-00000.tar"} | s.facts) for s in samples]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    names = [s.key for s in samples]
    splits = {"train": names[:8], "val_seen": names[8:10], "val_unseen": names[10:]}
    (folder / "splits.json").write_text(json.dumps(splits))
    return folder
