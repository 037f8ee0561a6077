"""Settings of the process: memory, garbage collection and threads."""

import ctypes
import gc
import os
import sys
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Numbers of the settings in glibc's malloc.h."""
_SETTINGS = ((_M_TRIM_THRESHOLD, 16 << 20), (_M_MMAP_THRESHOLD, 1 << 20), (_M_ARENA_MAX, 1))


def bound_heap() -> None:
    """Make glibc return freed pictures at once, and keep at most 16 MB of smaller blocks; no effect elsewhere.

    By default glibc soon puts pictures into its heap, one for each thread, which then fragments: an hour of 1080p grows
    from 700 to 840 MB. Where faces' smaller pictures are returned too, asking for them again takes a fifth of the time.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            library = ctypes.CDLL(None)
            for number, value in _SETTINGS:
                library.mallopt(number, value)


def freeze_imports() -> None:
    """Take what is imported so far out of garbage collections; videos need one each time a file is closed.

    Each collection would otherwise look at 200 000 objects of torch and others, for a fifth of a second.
    """
    gc.freeze()


def avoid_busy_waiting() -> None:
    """Let idle threads of torch sleep; it has to be called before torch is imported, and a setting of the user stays.

    By default they spin for a while after each operation, on the core that decoding, tracking, drawing and encoding
    need: of `cals generate` at 720p on two cores that takes a third of the processor time and a fifth of the wall time.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
