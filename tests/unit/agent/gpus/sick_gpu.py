"""A GPU on which task after task fails at once."""

from __future__ import annotations

from worker.agent.gpus.pool import Gpus
from worker.agent.gpus.quarantine import FAULTS
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.outcome import Outcome, RunError
from worker.usage.usage import Usage

__all__ = ["shut"]


def shut(gpus: Gpus, uuid: str = "GPU-1") -> None:
    """Have as many runs crash on it as it takes for a quarantine."""
    error = RunError(kind=ErrorKind.CRASHED, message="SIGSEGV")
    crashed = Outcome(code=ResultCode.FAILED, error=error, usage=Usage(wall_s=1.0))
    for number in range(FAULTS):
        gpus.judge(f"task-{number}", [uuid], crashed)
