"""A real clip, and the videos made from it: driven by its own sound, by another one, and with a mouth copied."""

import math
import wave
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cals.data.manifest import ClipSource
from cals.errors import MediaError
from cals.face.align import CROP_SIZE_PX, crop
from cals.face.detector import FaceDetector
from cals.face.landmarks import N_POINTS
from cals.face.paste import paste
from cals.face.tracker import FaceTracker
from cals.inference.lipsync import LipSync
from cals.inference.tracked import TrackedFrame, tracked
from cals.media.audio import load_mono
from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.timing import AVTiming
from cals.types import F32, U8, TrackedFace

F64 = NDArray[np.float64]
RATE_HZ = AVTiming().sample_rate_hz
_ROUNDED_S = 1e-3
"""Sound may end so much before the frame that it belongs to."""
COPY_APART = 5
"""A copied mouth comes from a frame at least so many frames away: nearer ones show nearly the same mouth."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a video shows at the real face's place, frame by frame."""

    crops: U8
    """[t size size 3], cut out with the real frame's transform."""
    landmarks: F64
    """[t 468 2] as tracked in this video, in pixels of the real crop; NaN where there are none."""
    valid: NDArray[np.bool_]
    """[t], False where no face was found in the real frame or in this one."""


@dataclass(frozen=True, eq=False)
class RealClip:
    """A held-out clip, decoded and tracked; all of it is in memory."""

    source: ClipSource
    frames: list[TrackedFrame]
    seen: Seen
    starts_s: F64
    """[t], when each frame begins."""
    end_s: float
    picture_late_s: float = 0.0
    """By how much the file shows its picture after the sound that belongs to it; `wav` puts that right."""

    @property
    def middles_s(self) -> F64:
        """[t], the middle of each frame."""
        return np.asarray((self.starts_s + np.append(self.starts_s[1:], self.end_s)) / 2)

    @property
    def shift_s(self) -> float:
        """By how much its sound is rolled to drive another clip: half of it, in whole frames."""
        return float(self.starts_s[len(self.starts_s) // 2])

    @property
    def silent(self) -> NDArray[np.bool_]:
        """[t], frames that end before the first word; none where the words are not known."""
        first_s = float(self.source.words[0].start_s) if self.source.words else 0.0
        return np.append(self.starts_s[1:], self.end_s) <= first_s

    def wav(self) -> F32:
        """Its sound, mono at `RATE_HZ`, in step with the picture and exactly as long: cut, or silent where it lacks."""
        length, before = round(self.end_s * RATE_HZ), round(self.picture_late_s * RATE_HZ)
        heard = load_mono(self.source.video, RATE_HZ)
        heard = np.pad(heard, (before, 0)) if before > 0 else heard[-before:]
        return np.pad(heard[:length], (0, max(length - len(heard), 0)))


def read_clip(source: ClipSource, detector: FaceDetector, limit_s: float = math.inf) -> RealClip:
    """Decode and track a clip, or those of its frames that end by `limit_s`; MediaError where it cannot be read."""
    with VideoReader(source.video) as reader:
        first = takewhile(lambda frame: float(frame.time_s + frame.duration_s) <= limit_s + _ROUNDED_S, reader)
        frames = list(tracked(first, FaceTracker(detector), CROP_SIZE_PX))
    if not frames:
        raise MediaError(f"{source.video}: expected a frame that ends by {limit_s:.3f} s, found none; name another")
    last = frames[-1].frame
    return RealClip(
        source=source,
        frames=frames,
        seen=seen_at(frames, ((item.frame, item.face) for item in frames)),
        starts_s=np.array([float(item.frame.time_s) for item in frames]),
        end_s=float(last.time_s + last.duration_s),
    )


def spoken(clip: RealClip, audio: Path, lips: LipSync) -> Iterator[tuple[Frame, float]]:
    """The clip's frames saying `audio`, and how far each was changed, 0..1."""
    with closing(lips.frames(clip.source.video, audio, length="video")) as stream:
        for done, _ in zip(stream, clip.frames, strict=False):  # of a clip read in part the model knows more frames
            yield done.frame, done.strength


def with_copied_mouths(clip: RealClip) -> Iterator[Frame]:
    """The baseline that hears nothing: every frame gets the mouth of another one, drawn by lot from the clip's name."""
    rng = np.random.default_rng(zlib.crc32(clip.source.name.encode()))
    there = np.flatnonzero(clip.seen.valid)
    for index, item in enumerate(clip.frames):
        choice = there[abs(there - index) >= COPY_APART]
        if item.view is None or not len(choice):
            yield item.frame
            continue
        view, other = item.view, clip.seen.crops[rng.choice(choice)]
        yield item.frame.with_patch(paste(item.frame, view.transform, view.crop, other, view.mask))


def write_rolled(clip: RealClip, path: Path) -> None:
    """Its sound as a wav file, rolled by `shift_s`: what was said first is now said in the middle."""
    write_wav(path, np.roll(clip.wav(), round(clip.shift_s * RATE_HZ)))


def write_wav(path: Path, wav: F32) -> None:
    """Mono sound [n] at `RATE_HZ` as a wav file of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.rint(np.clip(wav, -1, 1) * 32767).astype("<i2").tobytes())


def said_by(speaker: RealClip, clip: RealClip) -> Seen:
    """The real mouth that belongs to the rolled sound of `speaker`, at every frame of `clip`.

    Not valid after the end of that sound.
    """
    index, real = rolled_index(speaker, clip), speaker.seen
    return Seen(real.crops[index], real.landmarks[index], real.valid[index] & (clip.middles_s < speaker.end_s))


def rolled_index(speaker: RealClip, clip: RealClip) -> NDArray[np.int64]:
    """[t], the frame of `speaker` to which its rolled sound belongs, at every frame of `clip`."""
    then_s = (clip.middles_s - speaker.shift_s) % speaker.end_s
    return np.asarray(np.searchsorted(speaker.starts_s, then_s, side="right") - 1, dtype=np.int64)


def tracked_anew(pictures: Iterable[Frame], detector: FaceDetector) -> Iterator[tuple[Frame, TrackedFace]]:
    """Each frame with the face found in it, whatever is known of the frames that it was made from."""
    tracker = FaceTracker(detector)
    for frame in pictures:
        yield frame, tracker.update(frame, frame.time_s, frame.index)


def seen_at(real: list[TrackedFrame], shown: Iterable[tuple[Frame, TrackedFace]]) -> Seen:
    """What frames show, one for each real one, cut out where that has its face."""
    crops, landmarks, valid = [], [], []
    for item, (frame, face) in zip(real, shown, strict=True):
        if item.view is None or not face.valid:
            crops.append(np.zeros((CROP_SIZE_PX, CROP_SIZE_PX, 3), np.uint8))
            landmarks.append(np.full((N_POINTS, 2), np.nan))
        else:
            crops.append(crop(frame, item.view.transform))
            landmarks.append(item.view.transform.to_crop(face.landmarks[:, :2].astype(np.float64)))
        valid.append(item.view is not None and face.valid)
    return Seen(np.stack(crops), np.stack(landmarks), np.array(valid))
