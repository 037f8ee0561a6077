"""What the metrics cost and whether they tell what they should: `python benchmarks/metrics.py [--only PART ...]`.

Prints four tables: `cost`, milliseconds a frame of each metric; `planted`, offsets of -10..10 frames planted in
held-out GRID clips and found as `SyncScorer` finds them; `identity`, how well identity similarity tells GRID's speakers
apart; `frechet`, FID-sync of real clips against the same ones spoilt. The last three need `../shared/corpus` (or
--corpus, --splits).
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from cals import hub
from cals.data.windows import crop_lower_halves
from cals.evaluation.offsets import load_sync
from cals.face.align import CROP_SIZE_PX
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.landmarks import MOUTH_68
from cals.face.tracker import FaceTracker
from cals.inference.frame_tracker import TrackedFrame, track_and_align
from cals.inference.sync_distances import measure_shifts
from cals.inference.sync_encoders import CalsEncoders, OriginalSyncNet, load_encoders
from cals.media.audio import load_mono
from cals.media.reader import VideoReader
from cals.metrics.frechet import extract_trunk_features, frechet_distance
from cals.metrics.identity import identity_features, identity_similarity
from cals.metrics.image import gradient_energy, psnr, ssim, wrapped_psnr
from cals.metrics.landmarks import landmark_distance
from cals.metrics.lse import lse, lse_from_distances
from cals.metrics.motion import correlation, jitter
from cals.models.interop.syncnet import SyncNet
from cals.types import F32, U8

SHARED = Path(__file__).parents[2] / "shared" / "corpus"
FRAMES, FPS, RATE_HZ = 75, 25, 16_000
PARTS = ("cost", "planted", "identity", "frechet")


def table(columns: str, rows: list[list[str]]) -> None:
    """Print columns, named with bars in between, and rows as markdown."""
    print(f"\n| {columns} |\n|" + "---|" * (columns.count("|") + 1))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def spent_ms(run: Callable[[], object], rounds: int = 5) -> float:
    """The least time of some rounds, after one that does not count."""
    best = float("inf")
    for turn in range(rounds + 1):
        start = time.perf_counter()
        run()
        if turn:
            best = min(best, 1000 * (time.perf_counter() - start))
    return best


def cost(_: argparse.Namespace) -> None:
    """Metrics of a clip of 75 frames, crops of 128 px."""
    rng = np.random.default_rng(0)
    real, made = rng.integers(0, 256, (2, FRAMES, CROP_SIZE_PX, CROP_SIZE_PX, 3), dtype=np.uint8)
    points, moved = rng.normal(size=(2, FRAMES, 468, 2))
    lips = np.zeros((CROP_SIZE_PX, CROP_SIZE_PX), bool)
    lips[70:105, 40:90] = True
    mouth = list(MOUTH_68)
    visual, audio = torch.randn(2, FRAMES, 512)
    features = rng.normal(size=(2, 1000, 256))
    sync, syncnet = load_encoders(), OriginalSyncNet(SyncNet().eval())
    wav = (0.1 * rng.normal(size=FRAMES * RATE_HZ // FPS)).astype(np.float32)
    windows = rng.integers(0, 256, (16, 5, 64, 128, 3), dtype=np.uint8)
    big = rng.integers(0, 256, (2, 5, 224, 224, 3), dtype=np.uint8)
    pairs = list(zip(made, real, strict=True))
    runs: dict[str, tuple[Callable[[], object], int]] = {
        "PSNR": (lambda: [psnr(a, b) for a, b in pairs], FRAMES),
        "PSNR, mouth": (lambda: [psnr(a, b, lips) for a, b in pairs], FRAMES),
        "wrapped PSNR": (lambda: [wrapped_psnr(a, b) for a, b in pairs], FRAMES),
        "SSIM": (lambda: [ssim(a, b) for a, b in pairs], FRAMES),
        "sharpness (two gradient energies)": (lambda: [gradient_energy(x, lips) for p in pairs for x in p], FRAMES),
        "LMD": (lambda: landmark_distance(moved[:, mouth], points[:, mouth]), FRAMES),
        "jitter, 20 points": (lambda: jitter(moved[:, mouth], points[:, mouth]), FRAMES),
        "correlation of openings": (lambda: correlation(moved[:, 0, 0], points[:, 0, 0]), FRAMES),
        "identity similarity (both sides)": (lambda: identity_similarity(made, real), FRAMES),
        "sync embedding of the picture": (lambda: sync.visual(windows), len(windows)),
        "sync embedding of the sound": (lambda: list(sync.audio([wav])), FRAMES),
        "LSE from embeddings": (lambda: lse(visual, audio), FRAMES),
        "SyncNet, picture": (lambda: syncnet.visual(big), len(big)),
        "SyncNet, sound with its MFCC": (lambda: list(syncnet.audio([wav])), FRAMES),
        "FID-sync, features": (lambda: features_of(windows), len(windows)),
        "FID-sync, distance of 2 x 1000 (once)": (lambda: frechet_distance(features[0], features[1]), 1),
    }
    rows = [[name, f"{spent_ms(run) / count:.3f}"] for name, (run, count) in runs.items()]
    table("metric | ms a frame", rows)


def clip_names(options: argparse.Namespace, count: int) -> list[tuple[str, str]]:
    """Part and name of held-out clips: all of `val_unseen`, the rest evenly spaced over `val_seen`."""
    parts = json.loads(options.splits.read_text(encoding="utf-8"))
    unseen, seen = sorted(parts["val_unseen"]), sorted(parts["val_seen"])
    chosen = np.linspace(0, len(seen) - 1, max(count - len(unseen), 1)).round().astype(int)
    return [("val_seen", seen[i]) for i in chosen] + [("val_unseen", name) for name in unseen]


def read(path: Path, detector: BlazeFaceMesh) -> list[TrackedFrame]:
    with VideoReader(path) as reader:
        return list(track_and_align(reader, FaceTracker(detector), CROP_SIZE_PX))


def shifted(wav: F32, other: F32, late: int) -> F32:
    """`wav` later by so many frames, filled up with the nearest of `other`."""
    n = late * RATE_HZ // FPS
    return (
        np.concatenate([other[len(other) - n :], wav])[: len(wav)] if n > 0 else np.concatenate([wav[-n:], other[:-n]])
    )


def planted(options: argparse.Namespace) -> None:
    """Sound moved by -10..10 frames: found offset less the planted one, with silence or another clip's sound beyond."""
    detector = BlazeFaceMesh(FaceModels(*hub.read_face_models()))
    errors: dict[tuple[str, str], list[int]] = {}
    sure: dict[tuple[str, str], list[float]] = {}
    chosen = clip_names(options, options.clips)
    for number, (part, name) in enumerate(chosen):
        path = options.corpus / f"{name}.mp4"
        items, wav, encoders = read(path, detector), load_mono(path, RATE_HZ), Remembering(load_encoders())
        neighbour = load_mono(options.corpus / f"{chosen[number - 1][1]}.mp4", RATE_HZ)
        kinds = {"other speech": (neighbour, range(-10, 11)), "silence": (np.zeros_like(wav), (-10, -5, 5, 10))}
        for beyond, (other, offsets) in kinds.items():
            for late in offsets:
                found = lse_from_distances(last_distances(items, shifted(wav, other, late), encoders))
                errors.setdefault((part, beyond), []).append(found.offset_frames - late)
                sure.setdefault((part, beyond), []).append(found.lse_c)
        wrong = lse_from_distances(last_distances(items, neighbour, encoders))
        sure.setdefault((part, "wrong sound"), []).append(wrong.lse_c)
        print(f"{name}: off by {errors[(part, 'other speech')][-21:]}", flush=True)
    rows = []
    for key, found in errors.items():
        away = np.abs(found)
        shares = [f"{100 * float((away <= most).mean()):.1f} %" for most in (0, 1, 2)]
        rows.append([*key, str(len(found)), *shares, f"{np.mean(sure[key]):.3f}"])
    for key, values in sure.items():
        if key not in errors:
            rows.append([*key, str(len(values)), "", "", "", f"{np.mean(values):.3f}"])
    table("clips | beyond the sound | tries | exact | within 1 frame | within 2 | mean LSE-C", rows)


class Remembering:
    """Encoders of one clip, which look at its picture only once."""

    def __init__(self, encoders: CalsEncoders) -> None:
        self._encoders, self._seen = encoders, dict[bytes, torch.Tensor]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoders, name)

    def visual(self, windows: U8) -> torch.Tensor:
        key = hashlib.sha256(windows.tobytes()).digest()
        if key not in self._seen:
            self._seen[key] = self._encoders.visual(windows)
        return self._seen[key]


def last_distances(items: list[TrackedFrame], wav: F32, encoders: Any) -> np.ndarray:
    *_, found = measure_shifts(items, [wav], encoders)
    return np.array(found.distances)


def crops_of(options: argparse.Namespace, names: list[str]) -> Iterator[tuple[str, U8]]:
    detector = BlazeFaceMesh(FaceModels(*hub.read_face_models()))
    for name in names:
        views = [item.view for item in read(options.corpus / f"{name}.mp4", detector)]
        yield name, np.stack([view.crop for view in views if view is not None])


def spoilt(crop: U8, rng: np.random.Generator) -> U8:
    """Another gamma, other colours, some blur and noise."""
    light = 255 * (crop / 255) ** rng.uniform(0.7, 1.4) * rng.uniform(0.85, 1.15, 3)
    blurred = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.3, 1.2))
    return np.clip(blurred + rng.normal(0, 4, crop.shape), 0, 255).astype(np.uint8)


def ranked(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve."""
    rank = np.argsort(np.argsort(scores)) + 1
    n, m = int(positive.sum()), int((~positive).sum())
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * m))


def identity(options: argparse.Namespace) -> None:
    """Five frames of a clip of everyone and of 16 of s1; pairs of different clips, one of each pair spoilt."""
    paths = sorted(options.corpus.glob("*/*.mp4"))
    of_s1 = [path for path in paths if path.parent.name == "s1"]
    chosen = [path for path in paths if path.parent.name != "s1"] + of_s1[::60]
    rng, clean, other, speaker, clip = np.random.default_rng(1), [], [], [], []
    for number, (name, crops) in enumerate(crops_of(options, [f"{p.parent.name}/{p.stem}" for p in chosen])):
        for crop in crops[np.linspace(5, len(crops) - 6, 5).astype(int)]:
            clean.append(identity_features(crop))
            other.append(identity_features(spoilt(crop, rng)))
            speaker.append(name.split("/")[0])
            clip.append(number)
    who, where = np.array(speaker), np.array(clip)
    a, b = np.triu_indices(len(who), 1)
    a, b = (side[where[a] != where[b]] for side in (a, b))
    alike, same = (np.array(clean) @ np.array(other).T)[a, b], who[a] == who[b]
    rows = []
    for label, use in (("all", np.ones(len(a), bool)), ("without s1 to s1", (who[a] != "s1") | (who[b] != "s1"))):
        mine, others = alike[use & same], alike[use & ~same]
        row = [label, str(len(mine)), str(len(others)), f"{ranked(alike[use], same[use]):.4f}"]
        rows.append([*row, *(f"{x.mean():.3f} (sd {x.std():.3f})" for x in (mine, others))])
    table("pairs | of one person | of two | AUC | one person | two persons", rows)


def features_of(windows: U8) -> np.ndarray:
    """FID-sync features of lower halves [b 5 64 128 3]."""
    pixels = torch.from_numpy(windows).permute(0, 1, 4, 2, 3).float() / 255
    return extract_trunk_features(visual_encoder(), pixels).numpy()


@lru_cache(maxsize=1)
def visual_encoder() -> torch.nn.Module:
    """The one that ships."""
    return load_sync(hub.BUILTIN_WEIGHTS / hub.DEFAULT_MODEL / "sync").visual


def frechet(options: argparse.Namespace) -> None:
    """One half of the frames against the other half, as they are and spoilt."""
    spoil: dict[str, Callable[[U8], U8]] = {
        "as it is": lambda lower: lower,
        "blur, sigma 1 px": lambda lower: each(lower, lambda x: cv2.GaussianBlur(x, (0, 0), 1)),
        "blur, sigma 2 px": lambda lower: each(lower, lambda x: cv2.GaussianBlur(x, (0, 0), 2)),
        "noise, 8 levels": lambda lower: noisy(lower, 8),
        "frozen mouth": lambda lower: np.repeat(lower[:1], len(lower), axis=0),
        "frames in any order": lambda lower: np.random.default_rng(0).permutation(lower),
    }
    names = [name for _, name in clip_names(options, options.clips)]
    first: list[np.ndarray] = []
    second: dict[str, list[np.ndarray]] = {name: [] for name in spoil}
    for number, (_, crops) in enumerate(crops_of(options, names)):
        lower = np.ascontiguousarray(crop_lower_halves(crops).permute(0, 2, 3, 1).numpy())
        half = len(lower) // 2
        parts = (lower[:half], lower[half:])[:: 1 if number % 2 else -1]
        first.append(features_of(fives(parts[0])))
        for name, change in spoil.items():
            second[name].append(features_of(fives(change(parts[1]))))
    real = np.concatenate(first)
    rows = [
        [name, str(len(real)), f"{frechet_distance(real, np.concatenate(found)):.4f}"] for name, found in second.items()
    ]
    table("the other half | windows | FID-sync", rows)


def fives(frames: U8) -> U8:
    """All windows of five frames, [b 5 h w 3]."""
    return np.stack([frames[i : i + 5] for i in range(len(frames) - 4)])


def each(frames: U8, change: Callable[[U8], np.ndarray]) -> U8:
    return np.stack([change(frame) for frame in frames])


def noisy(frames: U8, levels: float) -> U8:
    drawn = np.random.default_rng(0).normal(0, levels, frames.shape)
    return np.clip(frames + drawn, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--clips", type=int, default=20, help="held-out clips for `planted` and `frechet`")
    parser.add_argument("--corpus", type=Path, default=SHARED / "grid")
    parser.add_argument("--splits", type=Path, default=SHARED / "splits.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for part in options.only:
        {"cost": cost, "planted": planted, "identity": identity, "frechet": frechet}[part](options)


if __name__ == "__main__":
    main()
