"""How far each moment of a video is from the sound around it, streamed: 31 numbers a frame are all that stays."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cals.inference.sync_encoders import SyncEncoders, stacked
from cals.inference.tracked import TrackedFrame
from cals.metrics.offset import MAX_OFFSET
from cals.timing import ticks_until
from cals.types import F32, U8

BATCH = 16
"""Windows embedded at once."""
Window = list[U8]


@dataclass
class Shifts:
    """What was found, frame by frame, at the encoders' own rate."""

    frames: int = 0
    no_face: int = 0
    """Frames that have no whole window with one person's face."""
    no_sound: int = 0
    """Frames too near to the sound's ends to be compared with all shifts (with zeros there: beyond its ends)."""
    judged: list[int] = field(default_factory=list)
    """Numbers of the frames that have distances."""
    distances: list[F32] = field(default_factory=list)
    """For each of those: to the sound shifted by -15..15 frames, [31]."""


def measure_shifts(items: Iterable[TrackedFrame], sound: Iterable[F32], encoders: SyncEncoders) -> Iterator[Shifts]:
    """Follow picture and sound together; yields the one growing result after every batch of frames."""
    found = Shifts()
    heard = Heard(encoders.audio(sound), encoders.first_heard)
    waiting: list[tuple[int, Window]] = []
    for number, window in enumerate(windows(at_rate(items, encoders.fps), encoders)):
        found.frames += 1
        if window is None:
            found.no_face += 1
        else:
            waiting.append((number, window))
        if len(waiting) == BATCH:
            _compare(waiting, heard, encoders, found)
            waiting = []
        if not found.frames % BATCH:
            yield found
    if waiting:
        _compare(waiting, heard, encoders, found)
    yield found


def _compare(waiting: list[tuple[int, Window]], heard: "Heard", encoders: SyncEncoders, found: Shifts) -> None:
    embedded = encoders.visual(stacked([window for _, window in waiting]))
    for (number, _), seen in zip(waiting, embedded, strict=True):
        around, there = heard.span(number - MAX_OFFSET, number + MAX_OFFSET + 1)
        if not (there.all() if encoders.edges == "drop" else there[MAX_OFFSET]):
            found.no_sound += 1
            continue
        found.judged.append(number)
        found.distances.append((around - seen).norm(dim=1).numpy().copy())  # without its tensor: half the memory


class Heard:
    """Embeddings of the sound by frame number, asked for in rising order; holds only those still needed."""

    def __init__(self, blocks: Iterator[Tensor], first: int = 0) -> None:
        self._blocks, self._first = blocks, first
        self._held = torch.zeros(0, 0)

    def span(self, low: int, high: int) -> tuple[Tensor, Tensor]:
        """Embeddings [high - low, d] of the frames low..high-1, zeros where there is no sound, and where there is."""
        while self._first + len(self._held) < high:
            block = next(self._blocks, None)
            if block is None:
                break
            kept = torch.cat([self._held.reshape(-1, block.shape[1]), block])
            drop = min(max(low - self._first, 0), len(kept))
            self._held, self._first = kept[drop:], self._first + drop
        numbers = torch.arange(low, high)
        there = (numbers >= self._first) & (numbers < self._first + len(self._held))
        around = torch.zeros(high - low, self._held.shape[1])
        around[there] = self._held[numbers[there] - self._first]
        return around, there


def at_rate(items: Iterable[TrackedFrame], fps: int) -> Iterator[TrackedFrame]:
    """What is shown in the middle of every 1 / `fps` s, whatever the video's own rate."""
    number = 0
    for item in items:
        while number < ticks_until(item.frame.time_s + item.frame.duration_s, fps):
            yield item
            number += 1


def windows(items: Iterable[TrackedFrame], encoders: SyncEncoders) -> Iterator[Window | None]:
    """For every frame the window around it; None without a face in one of its frames, at a cut, and at the ends."""
    side = encoders.frames // 2
    held: deque[tuple[int, U8] | None] = deque([None] * side, maxlen=encoders.frames)
    for item in items:
        held.append(None if item.view is None else (item.face.track, encoders.look(item, item.view)))
        if len(held) == encoders.frames:
            yield _whole(held)
    for _ in range(min(side, len(held) - side)):  # the last frames, which have too few after them
        yield None


def _whole(held: deque[tuple[int, U8] | None]) -> Window | None:
    there = [part for part in held if part is not None]
    one_person = len({track for track, _ in there}) == 1  # a track also ends at a cut
    return [look for _, look in there] if one_person and len(there) == len(held) else None
