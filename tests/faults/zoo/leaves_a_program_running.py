"""Starts a program in the background and succeeds without waiting for it."""

import subprocess

from worker import Context, handler

END = {"value": {"value": "left"}}


@handler()
def leaves_a_program_running(ctx: Context) -> str:
    """Start."""
    subprocess.Popen(["sleep", "600"])
    return "left"
