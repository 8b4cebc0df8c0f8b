"""Asks to be traced and stops at once: a state in which signals are held by a tracer."""

import ctypes
import os
import signal
import time

from worker import Context, handler

END = {"kind": "cancelled", "stop": "cancelled", "grace_s": 5}
PTRACE_TRACEME = 0


@handler()
def takes_no_part_in_tracing(ctx: Context) -> None:
    """Trace a child that stops, and never look after it."""
    if os.fork() == 0:
        ctypes.CDLL(None).ptrace(PTRACE_TRACEME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)
        os._exit(0)
    ctx.progress(0.1)
    while True:
        ctx.check()
        time.sleep(0.005)
