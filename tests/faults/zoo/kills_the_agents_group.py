"""Kills the agent's whole process group, and goes on computing with every signal blocked."""

import os
import signal
from pathlib import Path

from worker import Context, handler

END = {"world": "apart"}


@handler()
def kills_the_agents_group(ctx: Context) -> None:
    """Kill the group of the parent's parent."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    agent = int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])
    os.killpg(os.getpgid(agent), signal.SIGKILL)
    while True:
        pass
