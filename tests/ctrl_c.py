"""Processes that hear Ctrl-C."""

import signal


def hear_ctrl_c() -> None:
    """Undo what a shell does to commands in its background, which are deaf to Ctrl-C; for `preexec_fn`."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
