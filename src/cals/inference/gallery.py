"""What is known of each person before their first frame is drawn: a short look ahead, bounded for any video."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from cals.face.landmarks import mouth_opening
from cals.inference.tracked import TrackedFrame, View
from cals.media.frame import Frame
from cals.models.lips import OWN_S, Gallery
from cals.types import U8

LOOK_S = 8.0
"""How much of the video is looked at."""
_QUIET, _OPEN = 2, 6
"""How many frames with closed and with open mouths are kept."""


@dataclass
class _Seen:
    views: list[View] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    built: int = 0
    """How many of them the gallery was made from."""

    def add(self, view: View, frame: Frame) -> None:
        """Take in a frame, unless it is one shown again, as all of a photo's are."""
        if float(frame.source_s) not in self.times_s:
            self.views.append(view)
            self.times_s.append(float(frame.source_s))


def build_galleries(items: Iterable[TrackedFrame]) -> dict[int, Gallery]:
    """Galleries by track of tracked frames."""
    people: dict[int, _Seen] = defaultdict(_Seen)
    for item in items:
        if item.view is not None:
            people[item.face.track].add(item.view, item.frame)
    return {track: gallery(seen.views, seen.times_s) for track, seen in people.items()}


class Growing:
    """Galleries by track: those looked at beforehand, and of others what has been seen of them so far."""

    def __init__(self, known: dict[int, Gallery]) -> None:
        self._known = known
        self._seen = _Seen()
        self._track = -1

    def of(self, track: int, items: list[tuple[TrackedFrame, View]], *, found_again: bool) -> Gallery:
        """What is known of the person of `track` as these frames are drawn.

        `found_again` says that between the last track and this one there was nobody, but no cut.
        """
        if track != self._track:
            before = self._known.get(self._track)
            if track not in self._known and before is not None and found_again:
                self._known[track] = before
            self._track, self._seen = track, _Seen()
        if track not in self._known or self._seen.views:
            self._grow(track, items)
        return self._known[track]

    def _grow(self, track: int, items: list[tuple[TrackedFrame, View]]) -> None:
        seen, count = self._seen, len(self._seen.views)
        if seen.times_s and float(items[0][0].frame.source_s) - seen.times_s[0] > LOOK_S:
            return
        for item, view in items:
            seen.add(view, item.frame)
        if count and len(seen.views) < 2 * seen.built:
            return  # looked at anew each time twice as much is known
        self._known = {track: gallery(seen.views, seen.times_s)}  # earlier tracks do not come back
        seen.built = len(seen.views)


def gallery(views: list[View], times_s: list[float]) -> Gallery:
    """A person's closed and open mouths, the quietest first, so far apart in time that one can stand in for another."""
    openings = np.array([mouth_opening(view.landmarks) for view in views])
    order = np.argsort(openings, kind="stable").tolist()
    chosen = _apart(order, times_s, _QUIET)
    chosen += [i for i in reversed(_apart(order[::-1], times_s, _OPEN)) if i not in chosen]
    landmarks = torch.from_numpy(np.stack([view.landmarks for view in views]))
    return Gallery(
        crops=pictures([views[i].crop for i in chosen]),
        landmarks=landmarks[chosen],
        times_s=torch.tensor([times_s[i] for i in chosen]),
        seen=landmarks,
    )


def pictures(crops: Iterable[U8]) -> torch.Tensor:
    """Crops [h w 3] as a network takes them, [b 3 h w] in 0..1."""
    return torch.from_numpy(np.stack(list(crops))).permute(0, 3, 1, 2).float() / 255


def _apart(order: list[int], times_s: list[float], count: int) -> list[int]:
    chosen: list[int] = []
    for i in order:
        if len(chosen) < count and all(abs(times_s[i] - times_s[j]) >= 2 * OWN_S for j in chosen):
            chosen.append(i)
    return chosen
