"""Dies by a signal that has no name."""

import os
import signal

from worker import Context, handler

END = {"kind": "crashed", "signal": "signal 40", "retryable": True, "says": ["signal 40"]}


@handler()
def ends_by_a_real_time_signal(ctx: Context) -> None:
    """Die."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {40})
    os.kill(os.getpid(), 40)
