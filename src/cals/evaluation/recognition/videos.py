"""Generated videos in place of a corpus's pictures: tracked, aligned and encoded as in `cals prepare`."""

import logging
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from cals.data.manifest import ClipSource
from cals.data.segments import encode_crops
from cals.data.sources import folder
from cals.data.store import decode_crops
from cals.data.utterances import extract_grey_mouths
from cals.data.words import Cut
from cals.errors import ConfigError, DataError
from cals.evaluation.drives import read_clip
from cals.evaluation.outputs import REAL
from cals.face.detector import FaceDetector
from cals.timing import AVTiming
from cals.types import U8

logger = logging.getLogger(__name__)


class Videos:
    """Folders of videos with the sentences of a corpus's clips, under the same names."""

    def __init__(self, folders: Sequence[tuple[str, Path]], detector: FaceDetector, timing: AVTiming) -> None:
        self._detector, self._timing = detector, timing
        self._videos: dict[str, dict[str, ClipSource]] = {}
        for name, place in folders:
            if name in self._videos or name == REAL:
                raise ConfigError(f"videos: expected folders of different names, found another {name!r}; name it anew")
            self._videos[name] = {clip.name: clip for clip in folder.list_clips(place)}
        self._crops = lru_cache(maxsize=2)(self._track)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the folders."""
        return tuple(self._videos)

    def check(self, clips: Sequence[str]) -> None:
        """Raise DataError unless there is a video of every clip."""
        for name, videos in self._videos.items():
            missing = [clip for clip in clips if clip not in videos]
            if missing:
                raise DataError(
                    f"{name}: expected a video of every clip, such as {missing[0]}.mp4, found none of {len(missing)}; "
                    "make them, or read fewer clips"
                )

    def read_mouths(self, name: str, clip: str, first: int, frames: int, cut: Cut, mouth_px: int) -> U8:
        """Return grey mouths [t mouth_px mouth_px] of `frames` frames from `first` on; black where there is no face."""
        return extract_grey_mouths(self._crops(name, clip, first, frames), cut, mouth_px)

    def _track(self, name: str, clip: str, first: int, frames: int) -> U8:
        """Return aligned crops [t h w 3] at the model's rate, each of the frame at its middle, encoded once."""
        tracked, fps = read_clip(self._videos[name][clip], self._detector), self._timing.fps
        middles_s = (np.arange(math.ceil(tracked.end_s * fps - 0.5)) + 0.5) / fps
        index = np.maximum(np.searchsorted(tracked.starts_s, middles_s, side="right") - 1, 0)
        available = tracked.faces.crops[index][first : first + frames]
        crops = np.concatenate([available, np.zeros((frames - len(available), *available.shape[1:]), np.uint8)])
        black = int(np.count_nonzero(~crops.any(axis=(1, 2, 3))))
        if black:
            logger.warning("%s of %s: %d of %d frames are read as black, without a face", clip, name, black, frames)
        return decode_crops(encode_crops(list(crops), fps), frames)
