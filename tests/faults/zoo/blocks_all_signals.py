"""Computes in native code that holds the interpreter's lock, with every signal blocked."""

import ctypes
import signal

from worker import Context, handler

END = {
    "kind": "timeout",
    "signal": "SIGKILL",
    "says": ["longer than 0.3 s", "did not stop in time"],
    "weight": 1,
}


@handler(timeout_s=0.3)
def blocks_all_signals(ctx: Context) -> None:
    """Sleep where nothing of Python runs any more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(600)
