"""Embedding distances between each frame of a video and the sound around it, streamed: 31 numbers a frame are kept."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cals.inference.frame_tracker import TrackedFrame
from cals.inference.sync_encoders import SyncEncoders, stack_windows
from cals.metrics.offset import MAX_OFFSET
from cals.timing import count_ticks
from cals.types import F32, U8

BATCH = 16
"""Windows embedded at once."""
Window = list[U8]


@dataclass
class SyncDistances:
    """Distances frame by frame, at the encoders' own rate, and counts of the frames that have none."""

    frames: int = 0
    no_face: int = 0
    """Frames without a complete window of one person's face."""
    no_sound: int = 0
    """Frames too near the ends of the sound for all shifts; with `edges` "zeros", frames beyond its ends."""
    frame_indices: list[int] = field(default_factory=list)
    """Indices of the frames that have distances."""
    distances: list[F32] = field(default_factory=list)
    """Distances [31] of each of those frames to the sound shifted by -15..15 frames."""


def measure_shifts(
    items: Iterable[TrackedFrame], sound: Iterable[F32], encoders: SyncEncoders
) -> Iterator[SyncDistances]:
    """Compare frames and sound as they stream; yield the same growing result after every batch of frames."""
    shifts = SyncDistances()
    audio = AudioEmbeddings(encoders.audio(sound), encoders.first_audio_frame)
    pending: list[tuple[int, Window]] = []
    for number, window in enumerate(iterate_windows(resample_frames(items, encoders.fps), encoders)):
        shifts.frames += 1
        if window is None:
            shifts.no_face += 1
        else:
            pending.append((number, window))
        if len(pending) == BATCH:
            _compare(pending, audio, encoders, shifts)
            pending = []
        if not shifts.frames % BATCH:
            yield shifts
    if pending:
        _compare(pending, audio, encoders, shifts)
    yield shifts


def _compare(
    pending: list[tuple[int, Window]], audio: "AudioEmbeddings", encoders: SyncEncoders, shifts: SyncDistances
) -> None:
    visual = encoders.visual(stack_windows([window for _, window in pending]))
    for (number, _), embedding in zip(pending, visual, strict=True):
        audio_span, valid = audio.slice(number - MAX_OFFSET, number + MAX_OFFSET + 1)
        if not (valid.all() if encoders.edges == "drop" else valid[MAX_OFFSET]):
            shifts.no_sound += 1
            continue
        shifts.frame_indices.append(number)
        distances = (audio_span - embedding).norm(dim=1).numpy()
        shifts.distances.append(distances.copy())  # a copy does not hold the tensor: half the memory


class AudioEmbeddings:
    """Audio embeddings by frame index, requested in rising order; keeps only those still needed."""

    def __init__(self, blocks: Iterator[Tensor], first: int = 0) -> None:
        self._blocks, self._first = blocks, first
        self._embeddings = torch.zeros(0, 0)

    def slice(self, low: int, high: int) -> tuple[Tensor, Tensor]:
        """Return embeddings [high - low, d] of frames low..high-1, zeros without sound, and a mask of those with it."""
        while self._first + len(self._embeddings) < high:
            block = next(self._blocks, None)
            if block is None:
                break
            buffer = torch.cat([self._embeddings.reshape(-1, block.shape[1]), block])
            drop = min(max(low - self._first, 0), len(buffer))
            self._embeddings, self._first = buffer[drop:], self._first + drop
        numbers = torch.arange(low, high)
        valid = (numbers >= self._first) & (numbers < self._first + len(self._embeddings))
        embeddings = torch.zeros(high - low, self._embeddings.shape[1])
        embeddings[valid] = self._embeddings[numbers[valid] - self._first]
        return embeddings, valid


def resample_frames(items: Iterable[TrackedFrame], fps: int) -> Iterator[TrackedFrame]:
    """Yield the frame shown in the middle of every 1 / `fps` s, whatever the video's own rate."""
    number = 0
    for item in items:
        while number < count_ticks(item.frame.time_s + item.frame.duration_s, fps):
            yield item
            number += 1


def iterate_windows(items: Iterable[TrackedFrame], encoders: SyncEncoders) -> Iterator[Window | None]:
    """Yield each frame's window; None where one of its frames has no face, at a cut, and at the ends."""
    side = encoders.frames // 2
    buffer: deque[tuple[int, U8] | None] = deque([None] * side, maxlen=encoders.frames)
    for item in items:
        buffer.append(None if item.view is None else (item.face.track, encoders.extract_crop(item, item.view)))
        if len(buffer) == encoders.frames:
            yield _complete_window(buffer)
    for _ in range(min(side, len(buffer) - side)):  # the last frames, which have too few after them
        yield None


def _complete_window(buffer: deque[tuple[int, U8] | None]) -> Window | None:
    crops = [entry for entry in buffer if entry is not None]
    one_person = len({track for track, _ in crops}) == 1  # a track also ends at a cut
    return [crop for _, crop in crops] if one_person and len(crops) == len(buffer) else None
