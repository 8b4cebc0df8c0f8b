"""Takes from itself the kernel's care for orphans and for its parent's death, leaves one, and succeeds."""

import ctypes
import os

from worker import Context, handler

END = {"value": {"value": "left"}}
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


@handler()
def is_no_subreaper_any_more(ctx: Context) -> str:
    """Change both attributes, then leave a daemon without a trace."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(0), 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(0), 0, 0, 0)
    if (first := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 1000)
            os.execve("/bin/sleep", ["sleep", "600"], {})
        os._exit(0)
    os.waitpid(first, 0)
    return "left"
