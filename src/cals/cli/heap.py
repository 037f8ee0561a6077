"""Memory settings of the process."""

import ctypes
import gc
import sys
from contextlib import suppress

_SETTINGS = {
    "M_MMAP_THRESHOLD": (-3, 1 << 20),
    "M_TRIM_THRESHOLD": (-1, 16 << 20),
    "M_ARENA_MAX": (-8, 1),
}
"""Number of each setting in glibc's malloc.h, and our value."""


def bound_heap() -> None:
    """Make glibc return freed pictures at once, and keep at most 16 MB of smaller blocks; no effect elsewhere.

    By default glibc soon puts pictures into its heap, one for each thread, which then fragments: an hour of 1080p grows
    from 700 to 840 MB. Where faces' smaller pictures are returned too, asking for them again takes a fifth of the time.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            library = ctypes.CDLL(None)
            for number, value in _SETTINGS.values():
                library.mallopt(number, value)


def freeze_imports() -> None:
    """Take what is imported so far out of garbage collections; videos need one each time a file is closed.

    Each collection would otherwise look at 200 000 objects of torch and others, for a fifth of a second.
    """
    gc.freeze()
