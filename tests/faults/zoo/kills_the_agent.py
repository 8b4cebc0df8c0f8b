"""Kills the agent, and takes the kernel's leash off itself before."""

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

from worker import Context, handler

END = {"world": "apart"}
PR_SET_PDEATHSIG = 1


@handler()
def kills_the_agent(ctx: Context) -> None:
    """Kill the parent's parent."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(0), 0, 0, 0)
    subprocess.Popen(["sleep", "600"], start_new_session=True, env={})
    agent = int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(agent, signal.SIGKILL)
    time.sleep(600)
