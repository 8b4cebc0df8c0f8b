"""Find runs that are silent by the server's own clock, and give them up without undoing a late report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from worker.api import wire
from worker.api.errors import ApiError, NotFound, Rejected
from worker.api.ids import requeue_run_id
from worker.api.models import Run, Task, recency
from worker.api.wire import ErrorKind, ResultCode
from worker.cli import human
from worker.cli.exits import CliError, ExitCode
from worker.cli.session import Session

__all__ = ["Ending", "Silent", "Wanted", "close", "find"]

CLOSED: Final = frozenset({"stopped", "cancelled", "canceled"})  # of a job: nothing of it is requeued


class Wanted(Struct, frozen=True, kw_only=True):
    """Which runs are meant."""

    silent_s: float
    types: tuple[str, ...] = ()
    job_id: str | None = None
    pod_id: str | None = None

    def is_of(self, run: Run) -> bool:
        """Tell whether a run is live, and of the agent that is meant."""
        if not run.is_live or self.pod_id is None:
            return run.is_live
        return run.pod_id is not None and self.pod_id in (run.pod_id, run.pod_id.partition("/")[0])


class Silent(Struct, frozen=True, kw_only=True):
    """A live run that was not reported on for long."""

    run: Run
    task_id: str
    type: str | None
    silent_s: float
    requeues: bool  # nothing came after it, and its job goes on
    is_leased: bool = False

    @property
    def is_by_creation(self) -> bool:
        """Tell whether the server does not say when it was last reported on."""
        return wire.parse_instant(self.run.raw.get("updatedAt")) is None

    @property
    def then(self) -> str:
        """What would become of it."""
        if self.is_leased:
            return "left to the server"
        return "stopped, requeued" if self.requeues else "stopped"

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "run": self.run.id, "task": self.task_id, "job": self.run.job_id, "type": self.type,
            "podId": self.run.pod_id, "silentFor": round(self.silent_s, 1), "leased": self.is_leased,
            "requeues": self.requeues,
        }  # fmt: skip


class Ending(Struct, frozen=True, kw_only=True):
    """What became of a silent run."""

    run_id: str
    said: str
    is_done: bool

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"run": self.run_id, "done": self.is_done, "what": self.said}


# finding


async def find(session: Session, wanted: Wanted) -> list[Silent]:
    """Return the silent runs, longest first."""
    found: list[Silent] = []
    for task in await tasks_of(session, wanted):
        runs = await runs_of(session, task.id)
        silent = [run for run in runs if wanted.is_of(run) and silence(session, run) >= wanted.silent_s]
        found += [await looked_at(session, task, run, runs) for run in silent]
    return sorted(found, key=lambda one: -one.silent_s)


async def tasks_of(session: Session, wanted: Wanted) -> list[Task]:
    """Return the tasks whose runs may be live: those that run; of a named job all.

    A run may be live whose task is pending again: somebody was interrupted between requeue and stop.
    """
    status = None if wanted.job_id else "running"
    tasks = await session.pages(
        lambda page, per_page: session.api.list_tasks(
            job_id=wanted.job_id, run_status=status, types=wanted.types, page=page, per_page=per_page
        ),
        None,
    )
    return [task for task in tasks if not wanted.types or task.type in wanted.types]


async def runs_of(session: Session, task_id: str) -> list[Run]:
    """Return all runs of a task, oldest first."""
    runs = await session.pages(
        lambda page, per_page: session.api.list_runs(task_id=task_id, page=page, per_page=per_page), None
    )
    return sorted((run for run in runs if run.task_id in (None, task_id)), key=recency)


async def looked_at(session: Session, task: Task, run: Run, runs: Sequence[Run]) -> Silent:
    """Return a silent run, with what would become of its task."""
    shown = await session.ask(lambda: session.api.get_run(run.id))  # an answer about it tells its lease
    return Silent(
        run=run,
        task_id=task.id,
        type=task.type,
        silent_s=silence(session, run),
        requeues=is_last(run, runs) and not await is_closed(session, run.job_id or task.job_id),
        is_leased=shown.lease_s is not None,
    )


def silence(session: Session, run: Run) -> float:
    """Return for how many seconds nobody has reported on a run: the server's times, by the server's clock.

    Raises: CliError where the server does not tell its time.
    """
    at = wire.parse_instant(run.raw.get("updatedAt")) or run.created_at
    return (server_now(session) - at).total_seconds() if at else 0.0


def server_now(session: Session) -> datetime:
    """Return the server's time, as its last answer told it.

    Raises: CliError where it tells none.
    """
    if (now := session.api.traits.date) is None:
        raise CliError(
            "the server's answers have no Date: how long a run is silent cannot be told",
            "clocks of two machines are never compared; let the server, or a proxy before it, send Date",
            code=ExitCode.REFUSED,
        )
    return now


def is_last(run: Run, runs: Sequence[Run]) -> bool:
    """Tell whether nothing was started after a run but claims that lost; runs come oldest first."""
    ids = [one.id for one in runs]
    later = runs[ids.index(run.id) + 1 :] if run.id in ids else ()
    return all(one.is_placeholder or one.error_kind == ErrorKind.LOST_CLAIM for one in later)


async def is_closed(session: Session, job_id: str | None) -> bool:
    """Tell whether nothing of a job shall run any more."""
    if job_id is None:
        return False
    job = await session.ask(lambda: session.api.get_job(job_id))
    return job.scheduler_state in CLOSED


# giving up


async def close(session: Session, silent: Silent, wanted: Wanted) -> Ending:
    """Requeue the task of a silent run and stop the run, unless it has moved since."""
    run_id = silent.run.id
    try:
        if (moved := await moved_since(session, silent, wanted)) is not None:
            return Ending(run_id=run_id, said=f"left alone: {moved}", is_done=True)
        if silent.requeues:
            await requeue(session, silent)
        return await stop(session, silent)
    except ApiError as error:
        todo = f"; the same with --job {silent.run.job_id} tries again" if silent.run.job_id else ""
        return Ending(run_id=run_id, said=f"not given up: {error}{todo}", is_done=False)


async def moved_since(session: Session, silent: Silent, wanted: Wanted) -> str | None:
    """Return what happened to a run since it was listed; None: nothing, and it is silent still."""
    try:
        run = await session.ask(lambda: session.api.get_run(silent.run.id))
    except NotFound as error:
        if error.is_documented:
            return "it is gone"
        raise
    if not run.is_live:
        return "it has stopped"
    if run.raw != silent.run.raw or silence(session, run) < wanted.silent_s:
        return "it was reported on meanwhile"
    if run.lease_s is not None:
        return "it has a lease now: the server gives it up by itself"
    runs = await runs_of(session, silent.task_id)
    if silent.requeues and not is_last(silent.run, runs):
        return "another run of its task has started meanwhile"
    return None


async def requeue(session: Session, silent: Silent) -> None:
    """Post the placeholder that the run's agent would post; whoever does it twice does it once."""
    id_ = requeue_run_id(silent.run.id)
    runs = await runs_of(session, silent.task_id)
    if runs and runs[-1].is_placeholder and is_last(silent.run, runs) and runs[-1].id != silent.run.id:
        return  # an earlier try, or the agent itself, did it
    body = {"id": id_, "taskId": silent.task_id, "jobId": silent.run.job_id, "reportProgress": True}
    try:
        await session.api.create_run(body)  # asked once: a server that gives ids would make several
    except ApiError:
        if not await exists(session, id_):
            raise


async def exists(session: Session, run_id: str) -> bool:
    """Tell whether there is such a run."""
    try:
        await session.ask(lambda: session.api.get_run(run_id))
    except Rejected:
        return False
    return True


async def stop(session: Session, silent: Silent) -> Ending:
    """Stop a run as lost. Where it has stopped by itself by now, that stays as it is."""
    run = await session.ask(lambda: session.api.get_run(silent.run.id))
    then = "its task is pending again" if silent.requeues else "its task is not requeued"
    if not run.is_live:
        return Ending(run_id=run.id, said=f"it has stopped by itself this moment; {then}", is_done=True)
    stopped = await session.ask(lambda: session.api.update_run(run.id, report(session, silent)))
    if not stopped.raw.get("stoppedAt"):
        return Ending(run_id=run.id, said="not stopped: the server kept it going", is_done=False)
    return Ending(run_id=run.id, said=f"given up as worker_lost; {then}", is_done=True)


def report(session: Session, silent: Silent) -> dict[str, Any]:
    """Return the body that stops a run: under the identity that it has, at the server's time."""
    said = f"no report for {human.duration(round(silent.silent_s))}; given up by a person (millhand reap)"
    now = server_now(session)
    return {
        "startedAt": silent.run.raw["startedAt"],
        "stoppedAt": wire.format_instant(max(now, silent.run.started_at or now)),
        "resultCode": str(ResultCode.FAILED),
        "error": wire.format_error(ErrorKind.WORKER_LOST, said),
    }
