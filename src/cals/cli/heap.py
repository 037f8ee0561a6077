"""Memory settings of the process."""

import ctypes
import gc
import sys
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
"""Number of the setting in glibc's malloc.h."""
_BLOCK_BYTES = 512 * 1024


def return_large_blocks() -> None:
    """Make glibc return freed blocks as large as pictures at once; no effect with other C libraries.

    By default glibc soon puts them into its heap, which then fragments: an hour of 1080p grows from 700 to 840 MB.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)


def freeze_imports() -> None:
    """Take what is imported so far out of garbage collections; videos need one each time a file is closed.

    Each collection would otherwise look at 200 000 objects of torch and others, for a fifth of a second.
    """
    gc.freeze()
