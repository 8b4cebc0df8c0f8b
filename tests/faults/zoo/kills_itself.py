"""Dies by a SIGKILL that is not ours, nor the kernel's for want of memory."""

import os
import signal

from worker import Context, handler

END = {"kind": "crashed", "signal": "SIGKILL", "retryable": True, "says": ["killed by SIGKILL"]}


@handler()
def kills_itself(ctx: Context) -> None:
    """Die."""
    os.kill(os.getpid(), signal.SIGKILL)
