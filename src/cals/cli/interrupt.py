"""Handling of SIGINT, SIGTERM and SIGHUP, so that none is lost."""

import signal
from types import FrameType

_interrupt_requested = False


def _handle(number: int, frame: FrameType | None) -> None:
    global _interrupt_requested
    _interrupt_requested = True
    raise KeyboardInterrupt


def install() -> None:
    """Make SIGTERM and SIGHUP act as Ctrl-C, which removes unfinished files; ignored signals stay ignored."""
    global _interrupt_requested
    _interrupt_requested = False
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _handle)
    signal.signal(signal.SIGTERM, _handle)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _handle)  # the terminal was closed


def is_requested() -> bool:
    """Return whether a signal came: libraries turn the exception into others, as in the middle of an import."""
    return _interrupt_requested


def check() -> None:
    """Raise KeyboardInterrupt again where a library suppressed it: PyAV's resampler catches all exceptions."""
    if _interrupt_requested:
        raise KeyboardInterrupt
