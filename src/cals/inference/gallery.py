"""Galleries: each person's reference frames, collected in a short look-ahead before the first frame is rendered."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from cals.face.landmarks import measure_mouth_opening
from cals.inference.frame_tracker import TrackedFrame, View
from cals.media.frame import Frame
from cals.models.lips import Gallery
from cals.models.network import MIN_REFERENCE_GAP_S
from cals.types import U8

MAX_GALLERY_S = 8.0
"""Length of video that galleries are built from."""
_CLOSED_COUNT, _OPEN_COUNT = 2, 6
"""Numbers of reference frames with closed and with open mouths."""


@dataclass
class _TrackFrames:
    views: list[View] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    gallery_size: int = 0
    """Number of views that the present gallery was built from."""

    def add(self, view: View, frame: Frame) -> None:
        """Add a frame, unless it is shown again, as all frames of a photo are."""
        if float(frame.source_s) not in self.times_s:
            self.views.append(view)
            self.times_s.append(float(frame.source_s))


def build_galleries(items: Iterable[TrackedFrame]) -> dict[int, Gallery]:
    """Build a gallery for each track of tracked frames."""
    tracks: dict[int, _TrackFrames] = defaultdict(_TrackFrames)
    for item in items:
        if item.view is not None:
            tracks[item.face.track].add(item.view, item.frame)
    return {track: build_gallery(frames.views, frames.times_s) for track, frames in tracks.items()}


class GalleryCache:
    """Galleries by track: those of the look-ahead, and for other tracks one that grows with their frames."""

    def __init__(self, galleries: dict[int, Gallery]) -> None:
        self._galleries = galleries
        self._frames = _TrackFrames()
        self._track = -1

    def update(self, track: int, items: list[tuple[TrackedFrame, View]], *, found_again: bool) -> Gallery:
        """Return the gallery of `track`, for which `items` are about to be rendered.

        `found_again`: between the previous track and this one there was a gap without a cut, so the person is the same.
        """
        if track != self._track:
            previous = self._galleries.get(self._track)
            if track not in self._galleries and previous is not None and found_again:
                self._galleries[track] = previous
            self._track, self._frames = track, _TrackFrames()
        if track not in self._galleries or self._frames.views:
            self._grow(track, items)
        return self._galleries[track]

    def _grow(self, track: int, items: list[tuple[TrackedFrame, View]]) -> None:
        frames, count = self._frames, len(self._frames.views)
        if frames.times_s and float(items[0][0].frame.source_s) - frames.times_s[0] > MAX_GALLERY_S:
            return
        for item, view in items:
            frames.add(view, item.frame)
        if count and len(frames.views) < 2 * frames.gallery_size:
            return  # rebuilt each time the number of views has doubled
        self._galleries = {track: build_gallery(frames.views, frames.times_s)}  # earlier tracks do not come back
        frames.gallery_size = len(frames.views)


def build_gallery(views: list[View], times_s: list[float]) -> Gallery:
    """Build a gallery of closed and open mouths, most closed first, so far apart that one can replace another."""
    openings = np.array([measure_mouth_opening(view.landmarks) for view in views])
    order = np.argsort(openings, kind="stable").tolist()
    indices = _select_with_spacing(order, times_s, _CLOSED_COUNT)
    indices += [i for i in reversed(_select_with_spacing(order[::-1], times_s, _OPEN_COUNT)) if i not in indices]
    landmarks = torch.from_numpy(np.stack([view.landmarks for view in views]))
    return Gallery(
        crops=stack_crops([views[i].crop for i in indices]),
        landmarks=landmarks[indices],
        times_s=torch.tensor([times_s[i] for i in indices]),
        observed_landmarks=landmarks,
    )


def stack_crops(crops: Iterable[U8]) -> torch.Tensor:
    """Stack crops [h w 3] into a network's input, [b 3 h w] in 0..1."""
    return torch.from_numpy(np.stack(list(crops))).permute(0, 3, 1, 2).float() / 255


def _select_with_spacing(order: list[int], times_s: list[float], count: int) -> list[int]:
    indices: list[int] = []
    for i in order:
        if len(indices) < count and all(abs(times_s[i] - times_s[j]) >= 2 * MIN_REFERENCE_GAP_S for j in indices):
            indices.append(i)
    return indices
