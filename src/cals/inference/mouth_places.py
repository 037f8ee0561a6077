"""Position of a person's mouth in every frame of a video, smoothed relative to the head."""

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
"""Side of the mouth's square in an aligned crop of 128 px: the mouth crop that recognisers are trained on."""
_SMOOTH_S = 0.3
"""Half of the smoothing window: the square's centre is a mean over it, so that it follows the head and not the lips."""


@dataclass
class MouthTrack:
    """Time and mouth of every frame."""

    starts_s: list[Fraction] = field(default_factory=list)
    end_s: Fraction = Fraction(0)
    """When the last frame ends."""
    places: list[MouthPlace | None] = field(default_factory=list)
    """None where there is no face."""

    def compute_start_s(self, frame: int) -> Fraction:
        """Return when a frame begins; the one after the last begins where that ends."""
        return self.starts_s[frame] if frame < len(self.starts_s) else self.end_s


def track_mouths(
    video: Path, tracker: FaceTracker | None, *, keep_going: bool, progress: ProgressCallback | None = None
) -> MouthTrack:
    """Read a whole video once and track the person's mouth; without a tracker only times are read."""
    track, aligner = MouthTrack(), Aligner()
    observations: list[tuple[int, CropTransform, NDArray[np.float64]] | None] = []
    with VideoReader(video, keep_going=keep_going) as reader:
        for frame in reader:
            track.starts_s.append(frame.time_s)
            track.end_s = frame.time_s + frame.duration_s
            observations.append(None)
            if tracker is not None:
                face = tracker.update(frame, frame.time_s, frame.index)
                if face.valid:
                    transform = aligner.update(face)
                    centre = transform.to_crop(face.landmarks[list(MOUTH_OUTER), :2]).mean(axis=0)
                    observations[-1] = (face.track, transform, centre)
            if progress is not None:
                estimate = reader.frame_count_estimate
                progress(len(observations), None if estimate is None else 2 * estimate)
    track.places = [
        None if item is None else _smooth_place(track, observations, i) for i, item in enumerate(observations)
    ]
    return track


def _smooth_place(
    track: MouthTrack, observations: list[tuple[int, CropTransform, NDArray[np.float64]] | None], index: int
) -> MouthPlace:
    """Return the square in one frame with a face, centred on the mean of the same track's mouths around it."""
    observation = observations[index]
    assert observation is not None
    track_id, transform, _ = observation
    centres = []
    for step in (-1, 1):
        neighbour = index if step < 0 else index + 1
        while (
            0 <= neighbour < len(observations) and abs(track.starts_s[neighbour] - track.starts_s[index]) <= _SMOOTH_S
        ):
            item = observations[neighbour]
            if item is not None and item[0] == track_id:
                centres.append(item[2])
            neighbour += step
    centre = transform.to_frame(np.mean(centres, axis=0)[None])[0]
    inverse = transform.inverse
    return MouthPlace(
        float(centre[0]), float(centre[1]), MOUTH_PX / transform.scale, math.atan2(inverse[1, 0], inverse[0, 0])
    )
