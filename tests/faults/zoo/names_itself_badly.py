"""Gives its processes names that look like the rest of /proc/<pid>/stat."""

import ctypes
import os
import time

from worker import Context, handler

END = {"value": {"value": "left"}}
PR_SET_NAME = 15


@handler()
def names_itself_badly(ctx: Context) -> str:
    """Rename itself and a child that is left."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NAME, b") S 1 1 1\n\xff 0", 0, 0, 0)
    if os.fork() == 0:
        libc.prctl(PR_SET_NAME, b"a) Z 1 1 1 (b", 0, 0, 0)
        time.sleep(600)
    return "left"
