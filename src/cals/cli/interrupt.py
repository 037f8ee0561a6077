"""Ctrl-C and a polite kill, which must not get lost."""

import signal
from types import FrameType

_asked = False


def _handler(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt


def install() -> None:
    """Make SIGTERM a Ctrl-C, so that what is half written is removed; leave an ignored Ctrl-C (nohup, `&`) ignored."""
    global _asked
    _asked = False
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _handler)
    signal.signal(signal.SIGTERM, _handler)


def check() -> None:
    """Raise an interrupt again that a library swallowed: PyAV's resampler catches whatever happens inside it."""
    if _asked:
        raise KeyboardInterrupt
