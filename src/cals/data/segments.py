"""One recording to training samples: the segments in which one person's face is tracked without a gap."""

import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np

from cals.data.manifest import ClipSource, Word
from cals.data.offset import MAX_SHIFT, compute_loudness, compute_offset_curve
from cals.data.shards import Sample
from cals.errors import DataError, MediaError
from cals.face.align import Aligner, sample_crop
from cals.face.detector import FaceDetector
from cals.face.landmarks import measure_mouth_opening
from cals.face.picture import ArrayPicture
from cals.face.tracker import FaceTracker
from cals.media.audio import mono_blocks
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.media.reader import VideoFormat, VideoReader
from cals.media.writer import VideoWriter
from cals.options import EncodeOptions
from cals.timing import AVTiming, count_ticks
from cals.types import F32, U8, TrackedFace

MIN_FRAMES = 25
"""Least length of a segment: shorter ones teach nothing about context and cannot show their A/V offset."""
MAX_FRAMES = 250
"""Longest segment, 10 s; longer ones are cut, so that a sample always fits into memory."""
CROP_CRF = 10


@dataclass
class _Segment:
    start: int
    crops: list[U8] = field(default_factory=list)
    landmarks: list[F32] = field(default_factory=list)
    wav: list[F32] = field(default_factory=list)
    """[n] blocks, from MAX_SHIFT frames before the first frame to MAX_SHIFT after the last one."""


def extract_samples(
    clip: ClipSource, detector: FaceDetector, timing: AVTiming, crop_px: int, dropped: Counter[str]
) -> Iterator[Sample]:
    """Iterate over the samples of one recording, at the model's rates; count in `dropped` the frames left out.

    Sound and words reach MAX_SHIFT frames further on either side; `correct_offset` then cuts out what belongs to them.
    """
    segment: _Segment | None = None
    track = -1
    for tick, (face, pixels, landmarks, context) in enumerate(
        _resample_frames(clip, detector, timing, crop_px, dropped)
    ):
        is_complete = segment is not None and (
            not face.valid or face.track != track or len(segment.crops) == MAX_FRAMES
        )
        if segment is not None and is_complete:
            yield from _build_sample(clip, segment, timing, dropped)
            segment = None
        if not face.valid or pixels is None or landmarks is None:
            dropped["frames without a face"] += 1
            continue
        segment, track = segment or _Segment(tick, wav=list(context[:-1])), face.track
        segment.crops.append(pixels)
        segment.landmarks.append(landmarks)
        segment.wav.append(context[-1])
    if segment is not None:
        yield from _build_sample(clip, segment, timing, dropped, whole=segment.start == 0)


def _resample_frames(
    clip: ClipSource, detector: FaceDetector, timing: AVTiming, crop_px: int, dropped: Counter[str]
) -> Iterator[tuple[TrackedFace, U8 | None, F32 | None, tuple[F32, ...]]]:
    """Iterate over the video at `timing.fps`: face, crop, landmarks in the crop, and the sound around it.

    Each step takes the frame that is shown at the middle of its interval.
    """
    tracker, aligner = FaceTracker(detector), Aligner(crop_px)
    first = tick = round(clip.start_s * timing.fps)
    end = None if clip.end_s is None else round(clip.end_s * timing.fps)
    with VideoReader(clip.video) as reader:
        if clip.sound is None and not reader.has_audio:
            dropped["clips without sound"] += 1
            return
        box = None if clip.region is None else clip.region.scale_to(reader.width, reader.height)
        if box is not None and not box.width * box.height:
            dropped["clips whose crop lies outside the picture"] += 1
            return
        sound = islice(_iterate_sound(clip.sound or clip.video, timing), first, None)
        for frame in reader:
            ends_s = frame.time_s + frame.duration_s
            if tick == end:
                break
            if ends_s <= Fraction(first, timing.fps):
                continue
            picture = frame if box is None else ArrayPicture(frame.rgb(box))
            face = tracker.update(picture, frame.time_s, frame.index)
            pixels, landmarks = None, None
            if face.valid:
                transform = aligner.update(face)
                pixels = sample_crop(picture, transform)
                landmarks = transform.map_landmarks(face.landmarks)
            while tick != end and tick < count_ticks(ends_s, timing.fps):
                yield face, pixels, landmarks, next(sound)
                tick += 1
    if tick == first:
        dropped["clips beyond the end of their video"] += 1


def _iterate_sound(video: Path, timing: AVTiming) -> Iterator[tuple[F32, ...]]:
    """Iterate endlessly over 2 MAX_SHIFT + 1 blocks [n] around each frame's own; they are silent after the end."""
    silence = np.zeros(timing.samples_per_frame, np.float32)
    blocks = mono_blocks(video, timing.sample_rate_hz, timing.samples_per_frame)
    padded = (np.pad(block, (0, len(silence) - len(block))) for block in blocks)
    window = deque([silence] * MAX_SHIFT, maxlen=2 * MAX_SHIFT + 1)
    for block in chain(padded, repeat(silence)):
        window.append(block)
        if len(window) == window.maxlen:
            yield tuple(window)


def _build_sample(
    clip: ClipSource, segment: _Segment, timing: AVTiming, dropped: Counter[str], *, whole: bool = False
) -> Iterator[Sample]:
    """Build the sample of a segment unless it is too short; the text of `whole` clips is known even without times."""
    frames = len(segment.crops)
    if frames < MIN_FRAMES:
        dropped[f"frames in stretches under {MIN_FRAMES}"] += frames
        return
    wav = np.concatenate(segment.wav)
    opening = np.array([measure_mouth_opening(landmarks) for landmarks in segment.landmarks])
    margin = MAX_SHIFT * timing.samples_per_frame
    curve = compute_offset_curve(opening, compute_loudness(wav[margin:-margin], timing.samples_per_frame, frames))
    yield Sample(
        key=f"{clip.key}-{segment.start:06d}",
        crops=encode_crops(segment.crops, timing.fps),
        wav=wav,
        landmarks=np.stack(segment.landmarks).astype(np.float16),
        facts={
            "clip": clip.name,
            "speaker": clip.speaker,
            "start_frame": segment.start,
            "frames": frames,
            "words": _select_words(clip.words, segment.start, frames, timing),
            "text": clip.text if whole else None,
            "offset_curve": [round(float(value), 4) for value in curve],
        },
    )


def _select_words(
    words: tuple[Word, ...] | None, start: int, frames: int, timing: AVTiming
) -> list[tuple[float, float, str]] | None:
    """Select the words within a segment and MAX_SHIFT frames of it, in seconds after its first frame."""
    if words is None:
        return None
    start_s = Fraction(start, timing.fps)
    first_s, last_s = (start_s + Fraction(edge, timing.fps) for edge in (-MAX_SHIFT, frames + MAX_SHIFT))
    return [
        (float(word.start_s - start_s), float(word.end_s - start_s), word.text)
        for word in words
        if word.start_s >= first_s and word.end_s <= last_s
    ]


def correct_offset(sample: Sample, shift: int, timing: AVTiming) -> Sample:
    """Cut a sample of `extract_samples` to its frames, with sound and words `shift` frames earlier (at most MAX_SHIFT).

    Where the times of words are known, its text is that of the words that are completely in it.
    """
    frames, words, text = (sample.facts[name] for name in ("frames", "words", "text"))
    first = (MAX_SHIFT + shift) * timing.samples_per_frame
    if words is not None:
        shift_s, end_s = shift / timing.fps, round(frames / timing.fps, 6)
        shifted = ((round(start - shift_s, 6), round(end - shift_s, 6), text) for start, end, text in words)
        words = [word for word in shifted if word[0] >= 0 and word[1] <= end_s]
        text = " ".join(word[2] for word in words)
    wav = sample.wav[first : first + frames * timing.samples_per_frame]
    return replace(sample, wav=wav, facts=sample.facts | {"words": words, "text": text})


def encode_crops(crops: list[U8], fps: int) -> bytes:
    """Encode crops [h w 3] as an mp4 near lossless."""
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
            with VideoWriter(path, like, encode=EncodeOptions(crf=CROP_CRF, preset="medium")) as writer:
                for i, picture in enumerate(pictures):
                    writer.write(Frame(picture, i, Fraction(i, fps), Fraction(1, fps)))
            return path.read_bytes()
    except (MediaError, OSError) as error:  # the clip is not at fault
        raise DataError(
            f"{tempfile.gettempdir()}: expected to write crops there for a moment, found {error}; "
            "free some space, or set TMPDIR to another folder"
        ) from error
