"""Where a person's mouth is in every frame of a video, steady on the head."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cals.data.corruption.pictures import MouthPlace
from cals.face.align import Aligner
from cals.face.landmarks import MOUTH_OUTER
from cals.face.tracker import FaceTracker
from cals.media.reader import VideoReader
from cals.models.avsr.config import AVSRConfig
from cals.types import CropTransform, ProgressCallback

MOUTH_PX = AVSRConfig().cut[1] - AVSRConfig().cut[0]
"""Side of the mouth's square in an aligned crop of 128 px: as large as what recognisers see in training."""
_STEADY_S = 0.3
"""The square stays with the head: lips move in it, so its middle is the mean over so long before and after."""


@dataclass
class MouthTrack:
    """Every frame's time, and the mouth in it."""

    starts_s: list[Fraction] = field(default_factory=list)
    end_s: Fraction = Fraction(0)
    """When the last frame ends."""
    places: list[MouthPlace | None] = field(default_factory=list)
    """None where there is no face."""

    def begin_s(self, frame: int) -> Fraction:
        """When a frame begins; the one after the last begins where that ends."""
        return self.starts_s[frame] if frame < len(self.starts_s) else self.end_s


def track_mouths(
    video: Path, tracker: FaceTracker | None, *, keep_going: bool, progress: ProgressCallback | None = None
) -> MouthTrack:
    """Read a whole video once and follow the person; without a tracker only times are found, and no mouths."""
    found, aligner = MouthTrack(), Aligner()
    seen: list[tuple[int, CropTransform, NDArray[np.float64]] | None] = []
    with VideoReader(video, keep_going=keep_going) as reader:
        for frame in reader:
            found.starts_s.append(frame.time_s)
            found.end_s = frame.time_s + frame.duration_s
            seen.append(None)
            if tracker is not None:
                face = tracker.update(frame, frame.time_s, frame.index)
                if face.valid:
                    transform = aligner.update(face)
                    middle = transform.to_crop(face.landmarks[list(MOUTH_OUTER), :2]).mean(axis=0)
                    seen[-1] = (face.track, transform, middle)
            if progress is not None:
                estimate = reader.frame_count_estimate
                progress(len(seen), None if estimate is None else 2 * estimate)
    found.places = [None if item is None else _steady_place(found, seen, i) for i, item in enumerate(seen)]
    return found


def _steady_place(
    track: MouthTrack, seen: list[tuple[int, CropTransform, NDArray[np.float64]] | None], index: int
) -> MouthPlace:
    """The square in one frame with a face, its middle the mean of the same track's around it."""
    own = seen[index]
    assert own is not None
    number, transform, _ = own
    near = []
    for step in (-1, 1):
        at = index if step < 0 else index + 1
        while 0 <= at < len(seen) and abs(track.starts_s[at] - track.starts_s[index]) <= _STEADY_S:
            item = seen[at]
            if item is not None and item[0] == number:
                near.append(item[2])
            at += step
    middle = transform.to_frame(np.mean(near, axis=0)[None])[0]
    back = transform.inverse
    return MouthPlace(
        float(middle[0]), float(middle[1]), MOUTH_PX / transform.scale, math.atan2(back[1, 0], back[0, 0])
    )
