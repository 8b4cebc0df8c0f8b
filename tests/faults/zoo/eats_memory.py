"""Takes more memory than its limit, in a process that it started."""

import os
import time

from worker import Context, handler

END = {"kind": "out_of_memory", "signal": "SIGKILL", "says": ["limit of 150 MiB"], "weight": 1}
MIB = 1024 * 1024


@handler(memory_bytes=150 * MIB)
def eats_memory(ctx: Context) -> None:
    """Let a copy of this process eat, and wait for it."""
    if os.fork() == 0:
        eaten = []
        for _ in range(600):  # an end, should nobody see to it
            eaten.append(b"x" * MIB)
            time.sleep(0.002)
        os._exit(0)
    os.wait()
