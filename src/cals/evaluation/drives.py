"""A real clip, and the videos generated from it: self-driven, cross-driven, and with copied mouths."""

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
from cals.face.align import CROP_SIZE_PX, sample_crop
from cals.face.detector import FaceDetector
from cals.face.landmarks import N_POINTS
from cals.face.paste import paste
from cals.face.tracker import FaceTracker
from cals.inference.frame_tracker import TrackedFrame, track_and_align
from cals.inference.lipsync import LipSync
from cals.media.audio import load_mono
from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.timing import AVTiming
from cals.types import F32, U8, TrackedFace

F64 = NDArray[np.float64]
RATE_HZ = AVTiming().sample_rate_hz
_TOLERANCE_S = 1e-3
"""Tolerance by which sound may end before its frame."""
MIN_COPY_DISTANCE = 5
"""Smallest distance in frames to the source of a copied mouth: nearer ones show nearly the same mouth."""


@dataclass(frozen=True, eq=False)
class AlignedFaces:
    """The face of a video, aligned to the real face, frame by frame."""

    crops: U8
    """[t size size 3], cropped with the real frame's transform."""
    landmarks: F64
    """[t 468 2] as tracked in this video, in pixels of the real crop; NaN where there are none."""
    valid: NDArray[np.bool_]
    """[t], False where no face was found in the real frame or in this one."""


@dataclass(frozen=True, eq=False)
class RealClip:
    """A held-out clip, decoded and tracked, in memory as a whole."""

    source: ClipSource
    frames: list[TrackedFrame]
    faces: AlignedFaces
    starts_s: F64
    """[t], start of each frame."""
    end_s: float
    video_delay_s: float = 0.0
    """Delay of the picture against its sound in the file; `load_wav` corrects it."""

    @property
    def middles_s(self) -> F64:
        """[t], the middle of each frame."""
        return np.asarray((self.starts_s + np.append(self.starts_s[1:], self.end_s)) / 2)

    @property
    def shift_s(self) -> float:
        """Shift by which its sound is rolled to drive another clip: half of it, in whole frames."""
        return float(self.starts_s[len(self.starts_s) // 2])

    @property
    def silent(self) -> NDArray[np.bool_]:
        """[t], frames that end before the first word; none where the words are not known."""
        first_s = float(self.source.words[0].start_s) if self.source.words else 0.0
        return np.append(self.starts_s[1:], self.end_s) <= first_s

    def load_wav(self) -> F32:
        """Load the sound, mono at `RATE_HZ`, in sync with the picture and cut or padded with silence to its length."""
        samples, delay = round(self.end_s * RATE_HZ), round(self.video_delay_s * RATE_HZ)
        wav = load_mono(self.source.video, RATE_HZ)
        wav = np.pad(wav, (delay, 0)) if delay > 0 else wav[-delay:]
        return np.pad(wav[:samples], (0, max(samples - len(wav), 0)))


def read_clip(source: ClipSource, detector: FaceDetector, limit_s: float = math.inf) -> RealClip:
    """Decode and track a clip, or its frames that end by `limit_s`; MediaError where it cannot be read."""
    with VideoReader(source.video) as reader:
        selected = takewhile(lambda frame: float(frame.time_s + frame.duration_s) <= limit_s + _TOLERANCE_S, reader)
        frames = list(track_and_align(selected, FaceTracker(detector), CROP_SIZE_PX))
    if not frames:
        raise MediaError(f"{source.video}: expected a frame that ends by {limit_s:.3f} s, found none; name another")
    last = frames[-1].frame
    return RealClip(
        source=source,
        frames=frames,
        faces=crop_faces(frames, ((item.frame, item.face) for item in frames)),
        starts_s=np.array([float(item.frame.time_s) for item in frames]),
        end_s=float(last.time_s + last.duration_s),
    )


def generate_frames(clip: RealClip, audio: Path, lips: LipSync) -> Iterator[tuple[Frame, float]]:
    """Generate the clip's frames saying `audio`, each with the strength of its change, 0..1."""
    with closing(lips.frames(clip.source.video, audio, length="video", silence="drive")) as stream:
        for result, _ in zip(stream, clip.frames, strict=False):  # the stream is longer for a clip read in part
            yield result.frame, result.strength


def copy_mouths(clip: RealClip) -> Iterator[Frame]:
    """Generate the baseline without sound: each frame gets the mouth of a random other, seeded by the clip's name."""
    rng = np.random.default_rng(zlib.crc32(clip.source.name.encode()))
    valid = np.flatnonzero(clip.faces.valid)
    for index, item in enumerate(clip.frames):
        candidates = valid[abs(valid - index) >= MIN_COPY_DISTANCE]
        if item.view is None or not len(candidates):
            yield item.frame
            continue
        view, mouth = item.view, clip.faces.crops[rng.choice(candidates)]
        yield item.frame.with_patch(paste(item.frame, view.transform, view.crop, mouth, view.mask))


def roll_sound(clip: RealClip, path: Path) -> None:
    """Write the clip's sound as a wav file, rolled by `shift_s`: its start moves to the middle."""
    write_wav(path, np.roll(clip.load_wav(), round(clip.shift_s * RATE_HZ)))


def write_wav(path: Path, wav: F32) -> None:
    """Write mono sound [n] at `RATE_HZ` as a wav file of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.rint(np.clip(wav, -1, 1) * 32767).astype("<i2").tobytes())


def roll_target(speaker: RealClip, clip: RealClip) -> AlignedFaces:
    """Return the real mouth that belongs to the rolled sound of `speaker`, at every frame of `clip`.

    Not valid after the end of that sound.
    """
    index, real = compute_roll(speaker, clip), speaker.faces
    return AlignedFaces(real.crops[index], real.landmarks[index], real.valid[index] & (clip.middles_s < speaker.end_s))


def compute_roll(speaker: RealClip, clip: RealClip) -> NDArray[np.int64]:
    """Return the index [t] of the frame of `speaker` that its rolled sound belongs to, at every frame of `clip`."""
    times_s = (clip.middles_s - speaker.shift_s) % speaker.end_s
    return np.asarray(np.searchsorted(speaker.starts_s, times_s, side="right") - 1, dtype=np.int64)


def track_faces(pictures: Iterable[Frame], detector: FaceDetector) -> Iterator[tuple[Frame, TrackedFace]]:
    """Track the face in frames from scratch, without what is known of the frames they were generated from."""
    tracker = FaceTracker(detector)
    for frame in pictures:
        yield frame, tracker.update(frame, frame.time_s, frame.index)


def crop_faces(real: list[TrackedFrame], shown: Iterable[tuple[Frame, TrackedFace]]) -> AlignedFaces:
    """Crop the faces of frames, one for each real one, with the real face's transform."""
    crops, landmarks, valid = [], [], []
    for item, (frame, face) in zip(real, shown, strict=True):
        if item.view is None or not face.valid:
            crops.append(np.zeros((CROP_SIZE_PX, CROP_SIZE_PX, 3), np.uint8))
            landmarks.append(np.full((N_POINTS, 2), np.nan))
        else:
            crops.append(sample_crop(frame, item.view.transform))
            landmarks.append(item.view.transform.to_crop(face.landmarks[:, :2].astype(np.float64)))
        valid.append(item.view is not None and face.valid)
    return AlignedFaces(np.stack(crops), np.stack(landmarks), np.array(valid))
