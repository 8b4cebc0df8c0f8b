"""A handler that writes down, by itself, when it executed which task."""

from __future__ import annotations

import os
import time
from pathlib import Path

from worker import Context, handler

RECORD = Path(__file__).with_name("executions.log")


@handler("record")
def record(ctx: Context, *, number: int) -> dict[str, int]:
    """Append a line at the first and at the last moment; one write(2) each, so that lines never mix."""
    target = os.open(Path(os.environ["TMPDIR"]) / "executions.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(target, f"{time.monotonic_ns()} begin {ctx.task_id} {ctx.run_id} {os.getpid()}\n".encode())
        os.write(target, f"{time.monotonic_ns()} end {ctx.task_id} {ctx.run_id} {os.getpid()}\n".encode())
    finally:
        os.close(target)
    return {"number": number}
