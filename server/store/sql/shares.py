"""What a task adds to its job's counters, and how much a group of commands changes them."""

from __future__ import annotations

from server.store.rules import TaskState

__all__ = ["JobKey", "Moved", "Share"]

JobKey = tuple[str, str]  # organisation, job
Share = tuple[int, int, int, int, int, int]  # pending, running, stopped, failures, successes, progress
NOTHING: Share = (0, 0, 0, 0, 0, 0)


class Moved:
    """Collects moves of tasks, so that a hundred of a job cost one write."""

    def __init__(self) -> None:
        """Begin with none."""
        self._changed: dict[JobKey, tuple[Share, int]] = {}

    def move(
        self, job: JobKey, before: TaskState | None, after: TaskState, now_ms: int, tasks: int = 1
    ) -> None:
        """Move tasks of a job from one state to another; from None: they are new."""
        delta, _ = self._changed.get(job, (NOTHING, 0))
        old, new = _share(before), _share(after)
        changed = [d + tasks * (n - o) for d, n, o in zip(delta, new, old, strict=True)]
        self._changed[job] = (_as_share(changed), now_ms)

    def clear(self) -> None:
        """Forget what was not written: its commands are taken back."""
        self._changed.clear()

    def take(self) -> dict[JobKey, tuple[Share, int]]:
        """Return what each job's counters change by, and when; forget it."""
        changed, self._changed = self._changed, {}
        return changed


def _share(state: TaskState | None) -> Share:
    """Return what a task in that state adds to the counters."""
    if state is None:
        return NOTHING
    if state.status == "stopped":
        success = int(state.result == "Success")
        return (0, 0, 1, 1 - success, success, state.weight)
    running = int(state.status == "running")
    return (1 - running, running, 0, 0, 0, state.weight)


def _as_share(numbers: list[int]) -> Share:
    pending, running, stopped, failures, successes, progress = numbers
    return (pending, running, stopped, failures, successes, progress)
