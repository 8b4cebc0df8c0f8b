"""The folders of runs, as the settings say."""

from __future__ import annotations

from worker.clock import Clock
from worker.config import AgentConfig
from worker.executor.confinement import TaskUser
from worker.executor.kept import Keeping, KeptWorkdirs
from worker.executor.workdir import Workdirs

__all__ = ["KEPT_NAME", "RUNS_NAME", "open_workdirs"]

RUNS_NAME = "runs"  # of the state directory
KEPT_NAME = "kept"


async def open_workdirs(config: AgentConfig, clock: Clock, task_user: TaskUser | None) -> Workdirs:
    """Return the folders of runs; what an earlier life left goes, beside whatever follows."""
    workdirs = Workdirs(config.state_dir / RUNS_NAME, task_user=task_user, limit_bytes=config.workdir_bytes)
    keeping = Keeping(age_s=config.keep_workdirs_age_s, size_bytes=config.keep_workdirs_bytes)
    kept = KeptWorkdirs(config.state_dir / KEPT_NAME, keeping, workdirs.clearing, clock)
    if config.keep_workdirs == "failed":
        workdirs.keep_failed(kept)
    await workdirs.recover()
    await kept.prune()
    return workdirs
