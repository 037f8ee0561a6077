"""Length of the output: a video is extended or cut to the length of the speech."""

import logging
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from itertools import count
from pathlib import Path

from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.media.rewind import Rewinder
from cals.options import LengthPolicy, check_length

log = logging.getLogger(__name__)


def fit_length(
    path: Path | str, policy: LengthPolicy, audio_s: Fraction, *, keep_going: bool = False, size: int | None = None
) -> Iterator[Frame]:
    """Yield the frames of a video or image, numbered and timed from 0, as many as `policy` requires.

    bounce: as long as the speech (`audio_s`); a shorter video plays forward, backward, forward, without doubled end
    frames (a long stream whose time stamps were repaired loops instead). loop: the same, starting again at the first
    frame. audio: the same, holding the last frame. video: as long as the picture. Frames start before `audio_s`;
    memory stays bounded. `size` is the limit in pixels of the longer side of an image.
    """
    check_length(policy)
    with VideoReader(path, keep_going=keep_going, size=size) as reader:
        if policy == "video":
            yield from reader
            return
        with closing(Rewinder(reader.path, keep_going=keep_going)) as rewinder:
            yield from _retime_until(_repeat(reader, rewinder, policy), audio_s)


def _retime_until(frames: Iterator[Frame], end_s: Fraction) -> Iterator[Frame]:
    """Concatenate frames with their own durations, as long as they start before `end_s`."""
    time_s, index = Fraction(0), count()
    # no frame more than is needed is read: the one after the last may begin to play backwards
    while time_s < end_s and (frame := next(frames, None)) is not None:
        yield frame.with_time(next(index), time_s, frame.duration_s)
        time_s += frame.duration_s


def _repeat(reader: VideoReader, rewinder: Rewinder, policy: LengthPolicy) -> Iterator[Frame]:
    last = None
    if policy == "audio":
        for last in reader:
            yield last
    else:
        for last in rewinder.index_frames(reader):
            yield last
    if last is None:
        return
    reader.close()
    if policy == "audio" or len(rewinder) == 1:
        step_s = reader.format.step_s
        for _ in count():
            yield last.with_time(last.index, last.time_s, step_s)
    del last  # of 8K it is 50 MB
    end = len(rewinder)
    if policy == "bounce" and not rewinder.is_reversible:
        log.warning("%s: its time stamps do not allow playing backwards; starting again instead", reader.path)
        policy = "loop"
    while policy == "loop":
        yield from rewinder.iterate_forwards(0, end)
    while True:
        yield from rewinder.iterate_backwards(0, end - 2)
        yield from rewinder.iterate_forwards(1, end)
