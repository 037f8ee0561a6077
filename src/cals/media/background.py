"""Producer and consumer threads with a bounded queue; errors and shutdown reach the other side."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_S = 0.1


class _EndOfQueue:
    """Sentinel at the end of a queue, with the error that ended it if there was one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(source: Iterator[T], depth: int) -> Iterator[T]:
    """Iterate over `source` in a thread, at most `depth` items ahead; its errors are raised here.

    Closing this generator stops the thread and waits for it, so `source` is never running afterwards.
    """
    items: queue.Queue[T | _EndOfQueue] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(item: T | _EndOfQueue) -> bool:
        while not stop.is_set():
            try:
                items.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            for item in source:
                if not put(item):
                    return
            put(_EndOfQueue())
        except BaseException as error:  # any error is passed to the consumer
            put(_EndOfQueue(error))

    thread = threading.Thread(target=run, name="cals-read", daemon=True)
    thread.start()
    try:
        while True:
            item = items.get()
            if isinstance(item, _EndOfQueue):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()
        thread.join()


class Sink(Generic[T]):
    """A thread that calls `consume` for each item, at most `depth` waiting; its error is raised by the next call."""

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._consume = consume
        self._items: queue.Queue[T | _EndOfQueue] = queue.Queue(maxsize=depth)
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cals-write", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Add one item, waiting while the queue is full."""
        while self._error is None:
            try:
                self._items.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return
        raise self._error

    def finish(self) -> None:
        """Wait until every item is consumed."""
        if self._error is None:
            self._put_end()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Drop the waiting items and wait for the thread to stop."""
        self._stop.set()
        self._thread.join()

    def _put_end(self) -> None:
        while self._thread.is_alive():
            try:
                self._items.put(_EndOfQueue(), timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                item = self._items.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if isinstance(item, _EndOfQueue):
                return
            try:
                self._consume(item)
            except BaseException as error:  # raised again in the thread that adds items
                self._error = error
                return
