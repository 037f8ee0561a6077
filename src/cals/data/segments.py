"""One recording to training samples: the stretches where one person's face is there without a break."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from cals.data.manifest import ClipSource, Word
from cals.data.offset import loudness, offset_curve
from cals.data.shards import Sample
from cals.face.align import Aligner, crop
from cals.face.detector import FaceDetector
from cals.face.landmarks import mouth_opening
from cals.face.tracker import FaceTracker
from cals.media.audio import mono_blocks
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.media.reader import VideoFormat, VideoReader
from cals.media.writer import VideoWriter
from cals.timing import AVTiming
from cals.types import F32, U8, TrackedFace

MIN_FRAMES = 25
"""Shorter stretches teach nothing about context and cannot show their A/V offset."""
MAX_FRAMES = 250
"""Longer ones are cut: 10 s, so that a sample always fits into memory."""
CROP_CRF = 10


@dataclass
class _Stretch:
    start: int
    crops: list[U8] = field(default_factory=list)
    landmarks: list[F32] = field(default_factory=list)
    wav: list[F32] = field(default_factory=list)


def samples_of(
    clip: ClipSource, detector: FaceDetector, timing: AVTiming, crop_px: int, dropped: Counter[str]
) -> Iterator[Sample]:
    """The samples of one recording, at the model's rates; what is left out is counted in `dropped`, in frames."""
    stretch: _Stretch | None = None
    track = -1
    for tick, (face, pixels, points, wav) in enumerate(_ticks(clip, detector, timing, crop_px)):
        ends = stretch is not None and (not face.valid or face.track != track or len(stretch.crops) == MAX_FRAMES)
        if stretch is not None and ends:
            yield from _finished(clip, stretch, timing, dropped)
            stretch = None
        if not face.valid or pixels is None or points is None:
            dropped["frames without a face"] += 1
            continue
        stretch, track = stretch or _Stretch(tick), face.track
        stretch.crops.append(pixels)
        stretch.landmarks.append(points)
        stretch.wav.append(wav)
    if stretch is not None:
        yield from _finished(clip, stretch, timing, dropped)


def _ticks(
    clip: ClipSource, detector: FaceDetector, timing: AVTiming, crop_px: int
) -> Iterator[tuple[TrackedFace, U8 | None, F32 | None, F32]]:
    """Face, crop, landmarks in the crop and sound of every 1/fps: of the frame shown at its middle."""
    tracker, aligner = FaceTracker(detector), Aligner(crop_px)
    sound = mono_blocks(clip.video, timing.sample_rate_hz, timing.samples_per_frame)
    tick = 0
    with VideoReader(clip.video) as reader:
        for frame in reader:
            face = tracker.update(frame, frame.time_s, frame.index)
            pixels, points = None, None
            if face.valid:
                transform = aligner.update(face)
                pixels = crop(frame, transform)
                in_crop = np.column_stack([transform.to_crop(face.landmarks[:, :2]), face.landmarks[:, 2]])
                in_crop[:, 2] *= transform.scale
                points = in_crop.astype(np.float32)
            while Fraction(2 * tick + 1, 2 * timing.fps) < frame.time_s + frame.duration_s:
                wav = next(sound, np.zeros(0, np.float32))
                yield face, pixels, points, np.pad(wav, (0, timing.samples_per_frame - len(wav)))
                tick += 1


def _finished(clip: ClipSource, stretch: _Stretch, timing: AVTiming, dropped: Counter[str]) -> Iterator[Sample]:
    frames = len(stretch.crops)
    if frames < MIN_FRAMES:
        dropped[f"frames in stretches under {MIN_FRAMES}"] += frames
        return
    wav = np.concatenate(stretch.wav)
    opening = np.array([mouth_opening(points) for points in stretch.landmarks])
    start_s = Fraction(stretch.start, timing.fps)
    curve = offset_curve(opening, loudness(wav, timing.samples_per_frame, frames))
    yield Sample(
        key=f"{clip.key}-{stretch.start:06d}",
        crops=encoded(stretch.crops, timing.fps),
        wav=wav,
        landmarks=np.stack(stretch.landmarks).astype(np.float16),
        facts={
            "clip": clip.name,
            "speaker": clip.speaker,
            "start_frame": stretch.start,
            "frames": frames,
            "words": _words_within(clip.words, start_s, start_s + Fraction(frames, timing.fps)),
            "offset_curve": [round(float(value), 4) for value in curve],
        },
    )


def _words_within(
    words: tuple[Word, ...] | None, start_s: Fraction, end_s: Fraction
) -> list[tuple[float, float, str]] | None:
    if words is None:
        return None
    return [
        (float(word.start_s - start_s), float(word.end_s - start_s), word.text)
        for word in words
        if word.start_s >= start_s and word.end_s <= end_s
    ]


def encoded(crops: list[U8], fps: int) -> bytes:
    """Crops [h w 3] as an mp4 near lossless."""
    height, width = crops[0].shape[:2]
    pictures = [from_rgb(pixels) for pixels in crops]
    like = VideoFormat(
        width=width,
        height=height,
        pix_fmt=pictures[0].format.name,
        time_base=Fraction(1, fps),
        rate=Fraction(fps),
        colorspace=int(pictures[0].colorspace),
        color_range=int(pictures[0].color_range),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crops.mp4"
        with VideoWriter(path, like, crf=CROP_CRF, preset="medium") as writer:
            for i, picture in enumerate(pictures):
                writer.write(Frame(picture, i, Fraction(i, fps), Fraction(1, fps)))
        return path.read_bytes()
