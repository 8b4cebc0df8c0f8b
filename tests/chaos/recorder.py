"""A handler that writes down, by itself, when it executes which task, and what it returns."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from worker import Context, Retry, handler

BEAT_S = 0.01


@handler("chaos")
def chaos(ctx: Context, *, folder: str, kind: str, beats: int) -> dict[str, str]:
    """Append a line at the first moment, at each beat, and before the return; one write(2) each."""
    workdir = Path(ctx.workdir).parts
    agent = workdir[workdir.index("state") - 1]
    book = os.open(Path(folder) / "executions.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(what: str, token: str = "-") -> None:  # noqa: S107 - of a result
        words = (time.monotonic_ns(), what, ctx.task_id, ctx.run_id, agent, os.getpid(), ctx.attempt, token)
        os.write(book, (" ".join(map(str, words)) + "\n").encode())

    try:
        write("begin")
        for number in range(beats):
            time.sleep(BEAT_S)
            write("beat")
            ctx.progress(number / beats)
        if kind == "flaky" and is_first(Path(folder), ctx.task_id):
            write("retry")
            raise Retry("the first time")
        token = secrets.token_hex(8)
        if kind == "file":
            Path(ctx.workdir, "token.txt").write_text(token)
            ctx.artifact("token.txt")
        write("return", token)
        return {"token": token}
    finally:
        os.close(book)


def is_first(folder: Path, task_id: str) -> bool:
    """Tell whether this task has not failed before, whatever became of its runs."""
    try:
        os.close(os.open(folder / f"failed-{task_id}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
