"""What is known of each person before their first frame is drawn: a short look ahead, bounded for any video."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from cals.face.landmarks import mouth_opening
from cals.inference.tracked import TrackedFrame, View
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


def looked_at(items: Iterable[TrackedFrame]) -> dict[int, Gallery]:
    """Galleries by track of the first `LOOK_S` seconds."""
    people: dict[int, _Seen] = defaultdict(_Seen)
    for item in items:
        if item.frame.time_s > LOOK_S:
            break
        if item.view is not None:
            people[item.face.track].views.append(item.view)
            people[item.face.track].times_s.append(float(item.frame.time_s))
    return {track: gallery(seen.views, seen.times_s) for track, seen in people.items()}


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
