"""Hands a file over that a process of its goes on writing."""

import subprocess
from pathlib import Path

from worker import Context, handler

END = {"value": {"value": "writing"}, "files": ["log.txt"]}


@handler()
def goes_on_writing_an_artifact(ctx: Context) -> str:
    """Leave the writer."""
    with Path("log.txt").open("wb") as log:
        subprocess.Popen(["sh", "-c", "while :; do echo more; done"], stdout=log, start_new_session=True)
    while not Path("log.txt").stat().st_size:
        pass
    ctx.artifact("log.txt")
    return "writing"
