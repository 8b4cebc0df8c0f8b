"""Follow a job until it is done: bars on a terminal, lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from worker.api.models import Job, Task
from worker.api.retry import Policy
from worker.cli import human
from worker.cli.terminal import Output

if TYPE_CHECKING:
    from worker.cli.session import Session

__all__ = ["follow", "is_over", "summary", "why_quiet"]

LOOK_MIN_S: Final = 0.25  # between two looks at a job that moves
LOOK_MAX_S: Final = 2.0  # … and at one that does not
BARS: Final = 8  # of running tasks
# Somebody watches: a restart of the server is no reason to give up.
WATCHING: Final = Policy(base_s=0.2, cap_s=3.0, limit_s=120.0)
QUIET_S: Final = 10.0  # without anything that starts: then it is said what may be the reason
RUNS_LOOKED_AT: Final = 100  # of a job, for tasks that wait for another attempt
INACTIVE: Final = frozenset({"stopped", "cancelled", "canceled"})


class Display(Protocol):
    """Something that shows a job as it goes."""

    def update(self, job: Job, running: list[Task]) -> None:
        """Show how it stands now."""
        ...


async def follow(
    session: Session,
    job_id: str,
    out: Output,
    *,
    total: int = 0,
    on_look: Callable[[Job, float], None] = lambda job, quiet_s: None,
) -> Job:
    """Show a job until it is over, and return it as it is then.

    `total` is how many tasks it must have at least: one that is still being filled is not over.
    `on_look` is called at every look with the job, and for how long nothing of it has moved.
    """
    wait_s, before, moved = LOOK_MIN_S, "", monotonic()
    hint = Hint(out)
    with display_for(out) as display:
        while True:
            job = await session.ask(lambda: session.api.get_job(job_id), WATCHING)
            display.update(job, await running_tasks(session, job))
            if is_over(job, total):
                return job
            now = repr([job.task_progress, job.task_status_stopped, job.task_status_running])
            if now != before:
                wait_s, before, moved = LOOK_MIN_S, now, monotonic()
            quiet_s = monotonic() - moved
            hint.look(job, quiet_s, await waiting_for_attempts(session, job, quiet_s))
            on_look(job, monotonic() - moved)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 1.5, LOOK_MAX_S)


class Hint:
    """Says once why a job may stand still: nobody should wait without a word."""

    def __init__(self, out: Output) -> None:
        """Nothing is said yet."""
        self._out = out
        self._said = ""

    def look(self, job: Job, quiet_s: float, waiting: str = "") -> None:
        """Say it, unless it was said; tasks that wait for their next attempt are reason enough."""
        line = waiting or why_quiet(job, quiet_s)
        if line and line != self._said:
            self._said = line
            self._out.note(line)


async def waiting_for_attempts(session: Session, job: Job, quiet_s: float) -> str:
    """Say what waits for its next attempt in a job of which nothing has moved for a while; else nothing."""
    from worker.cli.attempts import waiting

    if not why_quiet(job, quiet_s) or job.scheduler_state not in (None, "active"):
        return ""
    runs = await session.ask(lambda: session.api.list_runs(job_id=job.id, per_page=RUNS_LOOKED_AT), WATCHING)
    return waiting(runs)


def why_quiet(job: Job, quiet_s: float) -> str:
    """Return why nothing of a job starts, as far as it can be known here; empty while it may well start."""
    if job.task_status_running or quiet_s < QUIET_S:
        return ""
    if job.scheduler_state not in (None, "active"):
        return f"the job is {job.scheduler_state}: nothing of it starts until `millhand resume {job.id}`"
    return (
        f"nothing of it has started for {QUIET_S:.0f} s: agents are busy, or none is up that can take"
        f" a task of type {job.type!r}; `millhand doctor` says what keeps this machine from it"
    )


def is_over(job: Job, total: int = 0) -> bool:
    """Tell whether nothing more will happen to a job.

    A job that is stopped or cancelled is over once nothing of it runs; another one once all its
    tasks have stopped. A server without counters is taken at its word.
    """
    if job.task_count is None or job.task_status_stopped is None:
        return job.status == "stopped"
    if job.scheduler_state in INACTIVE and not job.task_status_running:
        return True
    return job.task_status_stopped >= max(job.task_count, total)


async def running_tasks(session: Session, job: Job) -> list[Task]:
    """Return some of the job's running tasks, for their bars."""
    if not job.task_status_running:
        return []
    return await session.ask(
        lambda: session.api.list_tasks(job_id=job.id, run_status="running", per_page=BARS), WATCHING
    )


def display_for(out: Output) -> AbstractContextManager[Display]:
    """Return the display that fits where the output goes."""
    if out.is_json:
        return quiet()
    return bars(out) if out.is_terminal else lines(out)


@contextmanager
def quiet() -> Iterator[Display]:
    """Show nothing: the result is what a program reads."""

    class Quiet:
        def update(self, job: Job, running: list[Task]) -> None:
            """Show nothing."""

    yield Quiet()


@contextmanager
def lines(out: Output) -> Iterator[Display]:
    """Write a line to stderr whenever something changed."""

    class Lines:
        said = ""

        def update(self, job: Job, running: list[Task]) -> None:
            """Write how it stands, unless it stands as before."""
            if (line := summary(job)) != self.said:
                out.say(line)
                self.said = line

    yield Lines()


@contextmanager
def bars(out: Output) -> Iterator[Display]:
    """Draw a bar for the job and one for each task that runs."""
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[note]}", markup=False), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=out.console(stderr=True), transient=True) as progress:
        whole = progress.add_task("job", total=1.0, note="")
        drawn: dict[str, TaskID] = {}

        class Bars:
            def update(self, job: Job, running: list[Task]) -> None:
                """Move the bars; add those of new tasks, remove those of tasks that stopped."""
                progress.update(whole, completed=job.task_progress or 0.0, note=summary(job))
                for task in running:
                    if task.id not in drawn:
                        name = human.shorten(task.title or task.id, 30)
                        drawn[task.id] = progress.add_task(f"  {name}", total=1.0, note="")
                    progress.update(drawn[task.id], completed=task.run_progress or 0.0)
                for id_ in drawn.keys() - {task.id for task in running}:
                    progress.remove_task(drawn.pop(id_))

        yield Bars()


def summary(job: Job) -> str:
    """Say how a job stands."""
    if job.task_count is None:
        return f"job {job.status or 'unknown'}"
    parts = [f"{human.text(job.task_status_stopped)}/{job.task_count} done"]
    parts += [f"{job.task_result_failures} failed"] if job.task_result_failures else []
    parts += [f"{job.task_status_running} running"] if job.task_status_running else []
    parts += [job.scheduler_state] if job.scheduler_state not in (None, "active") else []
    return ", ".join(parts)
