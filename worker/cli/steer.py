"""`millhand pause`, `resume` and `cancel`: say what is wanted of a job.

The documented API cannot change a job's `schedulerState`; our server can. The answer tells whether
it did: nothing is said to be done that was not.
"""

from __future__ import annotations

import click

from worker.cli.command import MillCommand
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.settings import api_settings
from worker.cli.terminal import Output, output_options
from worker.config import ApiConfig

__all__ = ["cancel", "pause", "resume"]


def steering(name: str, state: str, done: str, doc: str, note: str) -> MillCommand:
    """Return the command that sets a job's `schedulerState`."""

    @make_command(name, examples=f"\nmillhand {name} 4bd52287-0f1a-4617-8f0e-dc6b8949edd9\n")
    @click.argument("job_id")
    @output_options
    @api_settings
    def command(job_id: str, out: Output, api: ApiConfig) -> int:
        from worker.cli.session import Session, with_session

        async def work(session: Session) -> None:
            job = await session.ask(lambda: session.api.update_job(job_id, {"schedulerState": state}))
            if job.scheduler_state != state:
                raise cannot(name, job_id, job.scheduler_state)
            if out.is_json:
                out.json(job.raw)
            out.say(f"job {job_id} {done}{note}")
            if state == "active" and job.task_count and job.task_status_stopped == job.task_count:
                out.note(f"all {job.task_count} tasks of it have stopped before: nothing of it runs again")

        with_session(api, work)
        return 0

    command.help = doc
    return command


def cannot(name: str, job_id: str, state: str | None) -> CliError:
    """Return the error of a server that did not do it."""
    return CliError(
        f"this server cannot {name} a job: {job_id} still has schedulerState {state or 'unknown'}",
        "the documented API has no way to set it; use the server's own tools",
        code=ExitCode.REFUSED,
    )


pause = steering(
    "pause", "paused", "is paused",
    "Start nothing new of the job JOB_ID; what runs goes on.", "; `millhand resume` goes on",
)  # fmt: skip
resume = steering("resume", "active", "is active again", "Go on with the paused job JOB_ID.", "")
cancel = steering(
    "cancel", "cancelled", "is cancelled",
    "Stop the job JOB_ID: start nothing of it, and end what runs. This cannot be undone.",
    "; what runs of it ends within seconds",
)  # fmt: skip
