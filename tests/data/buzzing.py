"""Drawn speech: a buzz with a melody through moving formants, in syllables; and a prepared folder of it."""

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cals.data.shards import Sample, write_shard

RATE = 16_000


def speech(seconds: float = 2.0, seed: int = 0, pitch_hz: float = 110.0) -> npt.NDArray[np.float32]:
    """Syllables of a voice at `pitch_hz` whose formants lie at 600, 1400 and 2600 Hz."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    level = np.interp(np.arange(n), np.linspace(0, n, int(seconds * 8)), rng.random(int(seconds * 8)) ** 2)
    melody = pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 1.3 * np.arange(n) / RATE))
    phase = np.cumsum(melody) / RATE
    buzz = np.diff(np.floor(phase), prepend=0.0)
    spectrum, hz = np.fft.rfft(buzz), np.fft.rfftfreq(n, 1 / RATE)
    shape = sum(np.exp(-(((hz - formant) / 300) ** 2)) for formant in (600, 1400, 2600)) + np.exp(-hz / 300)
    wav = np.fft.irfft(spectrum * shape, n) * level + 1e-4 * rng.normal(size=n)
    return (0.3 * wav / np.abs(wav).max()).astype(np.float32)


def prepared(folder: Path, clips: int = 4, frames: int = 25, shards: int = 2) -> Path:
    """A folder as `cals prepare` leaves it, with crops of 32 pixels."""
    folder.mkdir(parents=True)
    lines = []
    for shard in range(shards):
        samples = []
        for number in range(shard, clips, shards):
            facts = {"clip": f"a/{number}", "speaker": "a", "frames": frames}
            samples.append(
                Sample(
                    key=f"a-{number}",
                    crops=video(folder, frames, number),
                    wav=speech(frames / 25, seed=number),
                    landmarks=np.full((frames, 468, 3), 16, np.float16),
                    facts=facts,
                )
            )
            lines.append(json.dumps({"key": f"a-{number}", "shard": f"shard-{shard:05d}.tar"} | facts))
        write_shard(folder / f"shard-{shard:05d}.tar", samples)
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder


def video(folder: Path, frames: int, seed: int) -> bytes:
    path = folder / "crops.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (32, 32))
    picture = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    for _ in range(frames):
        writer.write(picture)
    writer.release()
    data = path.read_bytes()
    path.unlink()
    return data
