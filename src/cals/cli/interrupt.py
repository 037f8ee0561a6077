"""Ctrl-C and a polite kill, which must not get lost."""

import signal
from types import FrameType

_asked = False


def _handler(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt


def install() -> None:
    """Make a kill and a closed terminal a Ctrl-C, which removes what is half written; ignored ones stay ignored."""
    global _asked
    _asked = False
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _handler)
    signal.signal(signal.SIGTERM, _handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _handler)  # the terminal was closed


def check() -> None:
    """Raise an interrupt again that a library swallowed: PyAV's resampler catches whatever happens inside it."""
    if _asked:
        raise KeyboardInterrupt
