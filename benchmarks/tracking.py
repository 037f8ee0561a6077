"""Steadiness, coverage and speed of face tracking: `python benchmarks/tracking.py [--all] [--corpus DIR]`.

Prints four tables: alignment under known motions of a still, coverage of GRID, milliseconds a frame for each
runtime and size, and what pasting an unchanged crop costs.
"""

import argparse
import math
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from skimage.data import astronaut

from cals import hub
from cals.face.align import EYE_DISTANCE_PX, Aligner, sample_crop
from cals.face.detector import BlazeFaceMesh, FaceModels, Runtime
from cals.face.mask import build_lower_face_mask
from cals.face.paste import paste
from cals.face.picture import ArrayPicture
from cals.face.sampling import build_similarity, warp
from cals.face.tracker import FaceTracker
from cals.media.reader import VideoReader
from cals.types import U8, apply_affine

CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "grid"
FACE_CENTRE, EYES_MOUTH, EYES_PX = (224.0, 115.0), np.array([[224.0, 107.0], [224.0, 149.0]]), 42.0
FPS = 25


def motions(seconds: float) -> Iterator[tuple[str, float, np.ndarray]]:
    """Name, sensor noise in levels, and per frame: x, y (eye distances), angle, log zoom."""
    t = np.arange(round(seconds * FPS)) / FPS

    def wave(hz: float) -> np.ndarray:
        return np.sin(2 * np.pi * hz * t)

    rest = np.zeros_like(t)
    yield "rest", 0, np.stack([rest] * 4, axis=1)
    yield "rest, noise 4", 4, np.stack([rest] * 4, axis=1)
    yield "shift 0.4 at 0.5 Hz", 2, np.stack([0.4 * wave(0.5), 0.2 * wave(0.35), rest, rest], axis=1)
    yield "shift 0.5 at 1.5 Hz", 2, np.stack([0.5 * wave(1.5), rest, rest, rest], axis=1)
    yield "turn 10 deg at 0.5 Hz", 2, np.stack([rest, rest, math.radians(10) * wave(0.5), rest], axis=1)
    yield "zoom 15 % at 0.3 Hz", 2, np.stack([rest, rest, rest, math.log(1.15) * wave(0.3)], axis=1)
    mixed = [0.3 * wave(0.6), 0.15 * wave(0.8), math.radians(6) * wave(0.4), 0.1 * wave(0.25)]
    yield "all of these", 2, np.stack(mixed, axis=1)


def steadiness(detector: BlazeFaceMesh, seconds: float = 4.0, zoom: float = 1.5) -> None:
    """Where a true point of the still lands in the crop: it should not move at all."""
    print("\nalignment under known motion, % of the eye distance (jitter: from second differences)")
    print(f"{'motion':24}{'jitter raw':>12}{'jitter':>9}{'lag ms':>9}{'lag %':>8}{'rms':>7}")
    portrait, rng = astronaut(), np.random.default_rng(0)
    for name, noise, moves in motions(seconds):
        tracker, aligner = FaceTracker(detector), Aligner()
        raw, seen, true = [], [], []
        for i, (x, y, angle, log_zoom) in enumerate(moves):
            to = (240 + x * EYES_PX * zoom, 180 + y * EYES_PX * zoom)
            matrix = build_similarity(zoom * math.exp(log_zoom), angle, FACE_CENTRE, to)
            image = warp(portrait, matrix, 480, 360) + rng.normal(0, max(noise, 1e-9), (360, 480, 3))
            picture = ArrayPicture(np.clip(np.rint(image), 0, 255).astype(np.uint8))
            face = tracker.update(picture, Fraction(i, FPS), i)
            places = apply_affine(matrix, EYES_MOUTH)
            raw.append(Aligner().update(face).to_crop(places) / EYE_DISTANCE_PX)
            seen.append(aligner.update(face).to_crop(places) / EYE_DISTANCE_PX)
            true.append(places / (EYES_PX * zoom))
        off = (np.array(seen) - np.mean(seen, axis=0))[5:]
        speed = np.gradient(np.array(true), 1 / FPS, axis=0)[5:]
        lag_s = -float((speed * off).sum() / max((speed**2).sum(), 1e-9))
        fastest = float(np.hypot(*speed.reshape(-1, 2).T).max())
        print(
            f"{name:24}{100 * jitter(np.array(raw)[5:]):12.3f}{100 * jitter(off):9.3f}{1000 * lag_s:9.1f}"
            f"{100 * abs(lag_s) * fastest:8.2f}{100 * np.sqrt((off**2).mean()):7.2f}"
        )


def jitter(places: np.ndarray) -> float:
    """Standard deviation of independent noise that would give these second differences; places [t points 2]."""
    return float(np.sqrt((np.diff(places, 2, axis=0) ** 2).sum(axis=-1).mean() / 12))


def coverage(detector: BlazeFaceMesh, corpus: Path, everything: bool) -> None:
    """Share of frames with a face, clips with gaps, and clips broken into tracks, on GRID."""
    clips = sorted(corpus.glob("*/*.mp4"))
    if not clips:
        print(f"\nno clips under {corpus}: coverage skipped")
        return
    if not everything:
        others = [clip for clip in clips if clip.parent.name != "s1"]
        clips = others + [clip for clip in clips if clip.parent.name == "s1"][::60]
    frames = valid = cuts = 0
    spent_s = 0.0
    odd = []
    for clip in clips:
        tracker, faces = FaceTracker(detector), []
        with VideoReader(clip) as reader:
            for frame in reader:
                start = time.perf_counter()
                faces.append(tracker.update(frame, frame.time_s, frame.index))
                spent_s += time.perf_counter() - start
        found = sum(face.valid for face in faces)
        frames, valid, cuts = frames + len(faces), valid + found, cuts + sum(face.cut for face in faces)
        if found < len(faces) or faces[-1].track > 0:
            odd.append(f"{clip.parent.name}/{clip.stem}: {len(faces) - found} absent, {faces[-1].track + 1} tracks")
    print(f"\nGRID: {len(clips)} clips, {frames} frames, {100 * valid / frames:.3f} % with a face, {cuts} cuts called")
    print(
        f"tracking {1000 * spent_s / frames:.2f} ms a frame ({detector.runtime}), {len(odd)} clips with gaps or breaks"
    )
    for line in odd:
        print(f"  {line}")


def speed(models: FaceModels) -> None:
    """Milliseconds for each step, tracked frames and looks for a face, by runtime."""
    print("\nms a frame (best of 3 medians)")
    print(
        f"{'picture':14}{'face px':>8}{'runtime':>9}{'track':>8}{'first':>8}{'align+crop':>12}{'mask':>7}{'paste':>7}"
    )
    for width, height, face_px in (
        (640, 360, 120),
        (1280, 720, 100),
        (1280, 720, 300),
        (1920, 1080, 40),
        (1920, 1080, 500),
    ):
        scenes = [scene(width, height, face_px, shift) for shift in (0, 2)]
        for runtime in available():
            print(f"{width}x{height:<9}{face_px:>8}{runtime:>9}" + timings(BlazeFaceMesh(models, runtime), scenes))


def available() -> list[Runtime]:
    """Runtimes installed here."""
    try:
        import ai_edge_litert  # noqa: F401
    except ImportError:
        return ["cv2"]
    return ["cv2", "litert"]


def scene(width: int, height: int, face_px: float, shift: float) -> U8:
    """The astronaut with a face of this width, on her own blurred surroundings."""
    matrix = build_similarity(face_px / 97, 0.05, FACE_CENTRE, (width / 2 + shift, height / 2))
    return np.asarray(warp(astronaut(), matrix, width, height), dtype=np.uint8)


def timings(detector: BlazeFaceMesh, scenes: list[U8]) -> str:
    """One row of `speed`."""
    rows = []
    for _ in range(3):
        tracker, aligner = FaceTracker(detector), Aligner()
        spent: dict[str, list[float]] = {name: [] for name in ("track", "first", "align", "mask", "paste")}
        for i in range(25):
            picture = ArrayPicture(scenes[i % 2])
            marks = [time.perf_counter()]
            face = tracker.update(picture, Fraction(i, FPS), i)
            marks.append(time.perf_counter())
            transform = aligner.update(face)
            image = sample_crop(picture, transform)
            marks.append(time.perf_counter())
            mask = build_lower_face_mask(
                transform.map_landmarks(face.landmarks), transform, picture.width, picture.height
            )
            marks.append(time.perf_counter())
            paste(picture, transform, image, 255 - image, mask)
            marks.append(time.perf_counter())
            track, align, masking, pasting = (1000 * d for d in np.diff(marks))
            spent["first" if i == 0 else "track"].append(track)
            for name, value in (("align", align), ("mask", masking), ("paste", pasting)):
                spent[name].append(value)
        rows.append([float(np.median(values)) for values in spent.values()])
    track, first, align, masking, pasting = np.min(rows, axis=0)
    return f"{track:8.2f}{first:8.1f}{align:12.2f}{masking:7.2f}{pasting:7.2f}"


def identity(detector: BlazeFaceMesh) -> None:
    """Change from pasting an unchanged crop, and what resampling alone would cost."""
    print("\npasting an unchanged crop, levels of 255 inside the mask")
    print(f"{'face px':>8}{'max':>6}{'mean':>8}{'resampling alone: mean':>26}{'99 %':>7}")
    for face_px in (40, 95, 190, 380):
        rgb = scene(960, 720, face_px, 0.3)
        picture = ArrayPicture(rgb)
        face = FaceTracker(detector).update(picture, Fraction(0), 0)
        transform = Aligner().update(face)
        image = sample_crop(picture, transform)
        mask = build_lower_face_mask(transform.map_landmarks(face.landmarks), transform, picture.width, picture.height)
        patch = paste(picture, transform, image, image, mask)
        box, inside = patch.box, patch.alpha > 0.5
        region = np.s_[box.y0 : box.y1, box.x0 : box.x1]
        change = np.abs(picture.apply_patch(patch)[region].astype(int) - rgb[region])[inside]
        back = warp(image, transform.inverse, picture.width, picture.height)
        plain = np.abs(back[region].astype(int) - rgb[region])[inside]
        print(f"{face_px:8}{change.max():6}{change.mean():8.3f}{plain.mean():26.2f}{np.percentile(plain, 99):7.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every clip of GRID (minutes), not a sample")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    options = parser.parse_args()
    models = FaceModels(*hub.read_face_models())
    detector = BlazeFaceMesh(models)
    steadiness(detector)
    identity(detector)
    speed(models)
    coverage(detector, options.corpus, options.all)


if __name__ == "__main__":
    main()
