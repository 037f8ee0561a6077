"""Check of uploads in a process of its own, so that a file that crashes the library costs nothing else."""

import multiprocessing
import threading
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from cals.errors import MediaError
from cals.media.intake import IntakeLimits, check_media
from cals.workers import Slot, Work, open_slots, watch_parent

_LIMIT_S = 30


class MediaChecker:
    """A process that looks at one file at a time; `close` ends it."""

    def __init__(self, limits: IntakeLimits) -> None:
        self._lock, self._stack = threading.Lock(), ExitStack()
        work = Work(start=watch_parent, arguments=(0,), run=partial(check_media, limits=limits), items="files")
        slots = open_slots(work, workers=1, context=multiprocessing.get_context("spawn"))
        self._slot: Slot = self._stack.enter_context(slots)[0]

    def check(self, path: Path) -> None:
        """Raise MediaError unless `path` is a media file of a known kind and within the limits."""
        with self._lock:
            future = self._slot.submit(path)
            try:
                error = future.exception(timeout=_LIMIT_S)
            except FutureTimeout as late:
                error = late
            if isinstance(error, (FutureTimeout, *self._slot.deaths)):
                self._slot.interrupt(kill=True)
                self._slot.restart()
                raise MediaError(
                    f"{path}: expected a video, image or audio file, found one that cannot be looked at; convert it to "
                    "mp4, jpg or wav"
                ) from error
            if error is not None:
                raise error

    def close(self) -> None:
        with self._lock:
            self._slot.stop(is_running=True)
            self._stack.close()
