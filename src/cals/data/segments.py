"""One recording to training samples: the stretches where one person's face is there without a break."""

import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np

from cals.data.manifest import ClipSource, Word
from cals.data.offset import MAX_SHIFT, loudness, offset_curve
from cals.data.shards import Sample
from cals.errors import DataError, MediaError
from cals.face.align import Aligner, crop
from cals.face.detector import FaceDetector
from cals.face.landmarks import mouth_opening
from cals.face.picture import ArrayPicture
from cals.face.tracker import FaceTracker
from cals.media.audio import mono_blocks
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.media.reader import VideoFormat, VideoReader
from cals.media.writer import VideoWriter
from cals.timing import AVTiming, ticks_until
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
    """From MAX_SHIFT frames before the first one to MAX_SHIFT after the last one."""


def samples_of(
    clip: ClipSource, detector: FaceDetector, timing: AVTiming, crop_px: int, dropped: Counter[str]
) -> Iterator[Sample]:
    """The samples of one recording, at the model's rates; what is left out is counted in `dropped`, in frames.

    Their sound and words reach MAX_SHIFT frames further on either side, for `synced` to cut out what belongs.
    """
    stretch: _Stretch | None = None
    track = -1
    for tick, (face, pixels, points, heard) in enumerate(_ticks(clip, detector, timing, crop_px, dropped)):
        ends = stretch is not None and (not face.valid or face.track != track or len(stretch.crops) == MAX_FRAMES)
        if stretch is not None and ends:
            yield from _finished(clip, stretch, timing, dropped)
            stretch = None
        if not face.valid or pixels is None or points is None:
            dropped["frames without a face"] += 1
            continue
        stretch, track = stretch or _Stretch(tick, wav=list(heard[:-1])), face.track
        stretch.crops.append(pixels)
        stretch.landmarks.append(points)
        stretch.wav.append(heard[-1])
    if stretch is not None:
        yield from _finished(clip, stretch, timing, dropped, whole=stretch.start == 0)


def _ticks(
    clip: ClipSource, detector: FaceDetector, timing: AVTiming, crop_px: int, dropped: Counter[str]
) -> Iterator[tuple[TrackedFace, U8 | None, F32 | None, tuple[F32, ...]]]:
    """Face, crop, landmarks in the crop of every 1/fps, of the frame shown at its middle; the sound around it."""
    tracker, aligner = FaceTracker(detector), Aligner(crop_px)
    first = tick = round(clip.start_s * timing.fps)
    end = None if clip.end_s is None else round(clip.end_s * timing.fps)
    with VideoReader(clip.video) as reader:
        if clip.sound is None and not reader.has_audio:
            dropped["clips without sound"] += 1
            return
        box = None if clip.region is None else clip.region.in_picture(reader.width, reader.height)
        if box is not None and not box.width * box.height:
            dropped["clips whose crop lies outside the picture"] += 1
            return
        sound = islice(_sound_around(clip.sound or clip.video, timing), first, None)
        for frame in reader:
            ends_s = frame.time_s + frame.duration_s
            if tick == end:
                break
            if ends_s <= Fraction(first, timing.fps):
                continue
            picture = frame if box is None else ArrayPicture(frame.rgb(box))
            face = tracker.update(picture, frame.time_s, frame.index)
            pixels, points = None, None
            if face.valid:
                transform = aligner.update(face)
                pixels = crop(picture, transform)
                points = transform.landmarks(face.landmarks)
            while tick != end and tick < ticks_until(ends_s, timing.fps):
                yield face, pixels, points, next(sound)
                tick += 1
    if tick == first:
        dropped["clips beyond the end of their video"] += 1


def _sound_around(video: Path, timing: AVTiming) -> Iterator[tuple[F32, ...]]:
    """Every tick's sound in the middle of its 2 MAX_SHIFT + 1 neighbours, [n] each; without end: then it is silent."""
    silence = np.zeros(timing.samples_per_frame, np.float32)
    blocks = mono_blocks(video, timing.sample_rate_hz, timing.samples_per_frame)
    whole = (np.pad(block, (0, len(silence) - len(block))) for block in blocks)
    around = deque([silence] * MAX_SHIFT, maxlen=2 * MAX_SHIFT + 1)
    for block in chain(whole, repeat(silence)):
        around.append(block)
        if len(around) == around.maxlen:
            yield tuple(around)


def _finished(
    clip: ClipSource, stretch: _Stretch, timing: AVTiming, dropped: Counter[str], *, whole: bool = False
) -> Iterator[Sample]:
    """The stretch as a sample, unless it is too short; of `whole` clips the text is known even without times."""
    frames = len(stretch.crops)
    if frames < MIN_FRAMES:
        dropped[f"frames in stretches under {MIN_FRAMES}"] += frames
        return
    wav = np.concatenate(stretch.wav)
    opening = np.array([mouth_opening(points) for points in stretch.landmarks])
    margin = MAX_SHIFT * timing.samples_per_frame
    curve = offset_curve(opening, loudness(wav[margin:-margin], timing.samples_per_frame, frames))
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
            "words": _words_near(clip.words, stretch.start, frames, timing),
            "text": clip.text if whole else None,
            "offset_curve": [round(float(value), 4) for value in curve],
        },
    )


def _words_near(
    words: tuple[Word, ...] | None, start: int, frames: int, timing: AVTiming
) -> list[tuple[float, float, str]] | None:
    """The words within a stretch and MAX_SHIFT frames of it, in seconds after its first frame."""
    if words is None:
        return None
    zero_s = Fraction(start, timing.fps)
    first_s, last_s = (zero_s + Fraction(edge, timing.fps) for edge in (-MAX_SHIFT, frames + MAX_SHIFT))
    return [
        (float(word.start_s - zero_s), float(word.end_s - zero_s), word.text)
        for word in words
        if word.start_s >= first_s and word.end_s <= last_s
    ]


def synced(sample: Sample, shift: int, timing: AVTiming) -> Sample:
    """A sample of `samples_of`, cut to its frames, its sound and words `shift` frames earlier (at most MAX_SHIFT).

    Where the times of words are known, those that are whole in it are its text.
    """
    frames, words, text = (sample.facts[name] for name in ("frames", "words", "text"))
    first = (MAX_SHIFT + shift) * timing.samples_per_frame
    if words is not None:
        shift_s, end_s = shift / timing.fps, round(frames / timing.fps, 6)
        moved = ((round(start - shift_s, 6), round(end - shift_s, 6), text) for start, end, text in words)
        words = [word for word in moved if word[0] >= 0 and word[1] <= end_s]
        text = " ".join(word[2] for word in words)
    wav = sample.wav[first : first + frames * timing.samples_per_frame]
    return replace(sample, wav=wav, facts=sample.facts | {"words": words, "text": text})


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
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "crops.mp4"
            with VideoWriter(path, like, crf=CROP_CRF, preset="medium") as writer:
                for i, picture in enumerate(pictures):
                    writer.write(Frame(picture, i, Fraction(i, fps), Fraction(1, fps)))
            return path.read_bytes()
    except (MediaError, OSError) as error:  # it is not the clip that is broken
        raise DataError(
            f"{tempfile.gettempdir()}: expected to write crops there for a moment, found {error}; "
            "free some space, or set TMPDIR to another folder"
        ) from error
