"""Starts programs that end, and never asks how."""

import subprocess
import time

from worker import Context, handler

END = {"value": {"value": "left"}}


@handler()
def leaves_zombies(ctx: Context) -> str:
    """Start ten and leave them unreaped."""
    programs = [subprocess.Popen(["true"]) for _ in range(10)]
    time.sleep(0.05)
    for program in programs:
        program.returncode = 0
    return "left"
