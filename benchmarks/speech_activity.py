"""Speech or not: the detector that ships against the predicted opening of the mouth, on GRID, clean and in noise.

The clips of FOLDER that have an alignment are put end to end; between two words a silence of the alignment is a pause.
Prints, for 25 frames a second: AUC, precision and recall after hysteresis and shortest runs, and how late edges of
spans are; then the share of sound without any speech in which speech is found.
Run: python benchmarks/speech_activity.py FOLDER [--music FILE ...] [--only SPEAKER ...] [--most 40]
"""

import argparse
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import max_pool1d

from cals.data.corruption.noise import RATE_HZ, draw_burst_noise, measure_power
from cals.data.noises import draw_breaths, draw_drums
from cals.data.sources import grid
from cals.inference.load import load_model
from cals.inference.speech_activity import (
    SpeechOptions,
    iterate_activity,
    iterate_speech_probabilities,
    load_speech_detector,
)
from cals.inference.windows import iterate_units
from cals.media.audio import load_mono
from cals.models.cals import MeshLips
from cals.models.geometry import measure_lip_gap
from cals.types import F32

FPS = 25
WINDOW_S = Fraction(512, RATE_HZ)
MATCH_S = 0.5
"""How far a found edge may be from a true one to be its own."""
PURE_S = 48
Candidate = Callable[[F32], tuple[F32, Fraction]]
"""Sound [n] to the probability in each window, and the window's length."""


def hear_by_detector(wav: F32) -> tuple[F32, Fraction]:
    detector = load_speech_detector()
    return np.concatenate(list(iterate_speech_probabilities(detector, [wav]))), WINDOW_S


def hear_by_opening(radius: int) -> Candidate:
    """Return a candidate: the predicted opening, of the average speaker's deviation, at most 1, the largest around."""
    network = load_model().network
    assert isinstance(network, MeshLips)
    gap = measure_lip_gap(network.decoder.mesh.basis)

    @torch.inference_mode()
    def hear(wav: F32) -> tuple[F32, Fraction]:
        count, units, blocks = -(-len(wav) * FPS // RATE_HZ), [], iterate_units(network, [wav])
        while sum(map(len, units)) < count:
            units.append(next(blocks))
        opening = (network.predict_motion(torch.cat(units)[:count]) @ gap) / network.decoder.opening_px
        pooled = max_pool1d(opening.clamp(0, 1)[None, None], 2 * radius + 1, 1, radius)[0, 0]
        return pooled.numpy(), Fraction(1, FPS)

    return hear


def hear_by_level(wav: F32) -> tuple[F32, Fraction]:
    """Return the level, 0 at 40 dB below the loudest twentieth of windows and 1 at 0 dB below: what hears nothing."""
    step = RATE_HZ // FPS
    frames = np.pad(wav, (0, -len(wav) % step)).reshape(-1, step)
    db = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-10)
    return np.clip((db - np.quantile(db, 0.95)) / 40 + 1, 0, 1).astype(np.float32), Fraction(1, FPS)


def load_speech(folder: Path, only: list[str], most: int) -> tuple[F32, list[tuple[float, float]]]:
    """Load clips end to end, [n], and the spans of their words in seconds, joined where they touch."""
    wavs, spans, start = [], [], 0
    clips = [clip for clip in grid.list_clips(folder) if clip.words and (not only or clip.speaker in only)]
    for clip in clips[:most]:
        wav = load_mono(clip.video)
        for word in clip.words or ():
            word_start, word_end = (start / RATE_HZ + float(time_s) for time_s in (word.start_s, word.end_s))
            if spans and word_start - spans[-1][1] < 0.01:
                spans[-1] = (spans[-1][0], word_end)
            else:
                spans.append((word_start, word_end))
        wavs.append(wav)
        start += len(wav)
    print(f"{len(clips[:most])} clips, {start / RATE_HZ:.0f} s, {len(spans)} spans of speech")
    return np.concatenate(wavs), spans


def mask_spans(spans: list[tuple[float, float]], count: int) -> np.ndarray:
    middles_s = (np.arange(count) + 0.5) / FPS
    return np.any([(start <= middles_s) & (middles_s < end) for start, end in spans], axis=0)


def compute_auc(scores: F32, truth: np.ndarray) -> float:
    order = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(order[2])
    ranks = (ends - (order[2] - 1) / 2)[order[1]]
    positives = int(truth.sum())
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * (len(truth) - positives)))


def find_spans(activity: list[bool], window_s: Fraction) -> list[tuple[float, float]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], activity, [False]])))
    return [(float(a * window_s), float(b * window_s)) for a, b in edges.reshape(-1, 2).tolist()]


def measure_edges(spans: list[tuple[float, float]], truth: list[tuple[float, float]], side: int) -> str:
    found = np.array([span[side] for span in spans] or [np.inf])
    errors = [found[np.abs(found - span[side]).argmin()] - span[side] for span in truth]
    near = np.array([error for error in errors if abs(error) < MATCH_S])
    if not len(near):
        return "- | -"
    return f"{np.median(near) * 1000:+.0f} ({np.mean(np.abs(near)) * 1000:.0f}) | {len(errors) - len(near)}"


def print_row(name: str, condition: str, wav: F32, spans: list[tuple[float, float]], hear: Candidate) -> None:
    start_s = time.perf_counter()
    scores, window_s = hear(wav)
    wall_s = time.perf_counter() - start_s
    activity = list(iterate_activity([scores], window_s, SpeechOptions()))
    count = len(wav) * FPS // RATE_HZ
    at_frames = [min(int((i + 0.5) / FPS / float(window_s)), len(scores) - 1) for i in range(count)]
    truth, found = mask_spans(spans, count), np.array(activity)[at_frames]
    hits = int((truth & found).sum())
    found_spans = find_spans(activity, window_s)
    print(
        f"| {name} | {condition} | {compute_auc(scores[at_frames], truth):.3f} | {hits / max(1, found.sum()):.3f} "
        f"| {hits / truth.sum():.3f} | {measure_edges(found_spans, spans, 0)} | {measure_edges(found_spans, spans, 1)} "
        f"| {len(wav) / RATE_HZ / wall_s:.0f} |",
        flush=True,
    )


def mix(wav: F32, noise: F32, spans: list[tuple[float, float]], snr_db: float) -> F32:
    """Mix noise [m] repeated, `snr_db` below the speech proper."""
    speech = np.concatenate([wav[int(start * RATE_HZ) : int(end * RATE_HZ)] for start, end in spans])
    noise = np.resize(noise, len(wav))
    gain = np.sqrt(measure_power(speech) / measure_power(noise)) * 10 ** (-snr_db / 20)
    mixed = wav + noise * np.float32(gain)
    return mixed / max(1.0, float(np.abs(mixed).max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--music", type=Path, nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--most", type=int, default=40)
    args = parser.parse_args()
    torch.set_num_threads(1)
    wav, spans = load_speech(args.folder, args.only, args.most)
    pieces = [wav[i : i + 3 * RATE_HZ] for i in range(0, len(wav), 3 * RATE_HZ)]
    drawn = {kind: draw_burst_noise(kind, 3, PURE_S * RATE_HZ, [], wav) for kind in ("white", "pink")}
    music = [draw_burst_noise("music", seed, 6 * RATE_HZ, [], wav) for seed in range(8)]
    noises = drawn | {
        "drawn music": np.concatenate(music),
        "babble of 6": draw_burst_noise("babble", 3, PURE_S * RATE_HZ, pieces, wav),
    }
    for path in args.music:
        start = 20 * RATE_HZ
        noises[path.stem] = load_mono(path)[start : start + PURE_S * RATE_HZ]
    candidates = {
        "detector": hear_by_detector,
        "opening, 0.1 s around": hear_by_opening(3),
        "opening, 0.4 s around": hear_by_opening(10),
        "level": hear_by_level,
    }
    print(
        "| candidate | sound | AUC | precision | recall | start, ms late, median (mean error) | missed "
        "| end | missed | times real time |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    conditions = {"clean": wav} | {
        f"{kind}, {snr_db} dB": mix(wav, noise, spans, snr_db)
        for kind, noise in noises.items()
        for snr_db in (10, 5, 0)
    }
    for condition, mixed in conditions.items():
        for name, hear in candidates.items():
            print_row(name, condition, mixed, spans, hear)
    rng = np.random.default_rng(0)
    pure = noises | {
        "breaths": draw_breaths(rng, PURE_S * RATE_HZ, RATE_HZ).astype(np.float32),
        "drums": draw_drums(rng, PURE_S * RATE_HZ, RATE_HZ).astype(np.float32),
        "digital silence": np.zeros(PURE_S * RATE_HZ, np.float32),
    }
    print(f"\n| speech found in | {' | '.join(candidates)} |\n|---|" + "---|" * len(candidates))
    for kind, noise in pure.items():
        quiet = noise * np.float32(0.1 / max(float(np.sqrt(measure_power(noise))), 1e-6))
        shares = []
        for hear in candidates.values():
            scores, window_s = hear(quiet)
            shares.append(f"{np.mean(list(iterate_activity([scores], window_s))):.3f}")
        print(f"| {kind} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
