"""Ways to make a real clip's face speak that are judged side by side: models, and videos made by other systems."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cals.data.manifest import ClipSource
from cals.data.sources import folder
from cals.errors import ConfigError, DataError
from cals.evaluation.drives import RealClip, Seen, copied, driven
from cals.evaluation.readings import BASELINES, COPY, REAL
from cals.face.align import crop
from cals.face.detector import FaceDetector
from cals.inference.lipsync import LipSync
from cals.media.reader import VideoReader


class Methods:
    """Ways to make a clip's face speak: models, and folders with videos that another system made."""

    def __init__(self, models: dict[str, LipSync], generated: Sequence[Path], detector: FaceDetector) -> None:
        self._models, self._detector = models, detector
        self._videos: dict[str, dict[str, Path]] = {}
        for place in generated:
            name = place.resolve().name
            if name in self._videos or name in models:
                raise ConfigError(f"{place}: expected methods of different names, found another {name!r}; rename it")
            self._videos[name] = {clip.name: clip.video for clip in folder.clips(place)}
        taken = [name for name in (*models, *self._videos) if name in BASELINES]
        if taken:
            raise ConfigError(
                f"methods: expected other names than {', '.join(BASELINES)}, found {taken[0]!r}; rename it"
            )

    def check(self, clips: Sequence[ClipSource]) -> None:
        """DataError unless there is a video of every clip."""
        for name, videos in self._videos.items():
            missing = [clip.name for clip in clips if clip.name not in videos]
            if missing:
                raise DataError(
                    f"{name}: expected a video of every clip, as SPEAKER/CLIP.mp4, found none of {len(missing)}, for "
                    f"example {missing[0]}; make them, or read fewer clips"
                )

    def seen(self, clip: RealClip) -> dict[str, Seen]:
        """What each method makes of a clip."""
        found = {REAL: clip.seen, COPY: copied(clip, self._detector)}
        found |= {name: driven(clip, clip.source.video, lips, self._detector) for name, lips in self._models.items()}
        return found | {name: shown(clip, videos[clip.source.name]) for name, videos in self._videos.items()}


def shown(clip: RealClip, video: Path) -> Seen:
    """What a video made elsewhere shows where the clip has its face; its landmarks are not looked for.

    Raises DataError when its pictures have another size; where it has ended, no frame is valid.
    """
    with VideoReader(video) as reader:
        frames = list(reader)
    real = clip.frames[0].frame
    found = {(frame.width, frame.height) for frame in frames}
    if found != {(real.width, real.height)}:
        raise DataError(
            f"{video}: expected pictures of {real.width} x {real.height} as in {clip.source.video}, found "
            f"{sorted(found)}; generate from that video and keep its size"
        )
    starts_s = np.array([float(frame.time_s) for frame in frames])
    end_s = float(frames[-1].time_s + frames[-1].duration_s)
    middles_s = (clip.starts_s + np.append(clip.starts_s[1:], clip.end_s)) / 2
    index = np.searchsorted(starts_s, middles_s, side="right") - 1
    valid = clip.seen.valid & (middles_s < end_s)
    crops = np.zeros_like(clip.seen.crops)
    for t in np.flatnonzero(valid):
        view = clip.frames[t].view
        assert view is not None
        crops[t] = crop(frames[index[t]], view.transform)
    return Seen(crops, np.full_like(clip.seen.landmarks, np.nan), valid)
