"""`millhand watch`: follow a job until it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from worker.cli import human
from worker.cli.api_settings import api_settings
from worker.cli.command import command as make_command
from worker.cli.exits import ExitCode
from worker.cli.terminal import Output, output_options
from worker.config import ApiConfig

if TYPE_CHECKING:
    from worker.cli.outcomes import TaskOutcome
    from worker.cli.session import Session

__all__ = ["command", "follow_to_end"]


@make_command(
    "watch",
    examples="""
millhand watch 4bd52287-0f1a-4617-8f0e-dc6b8949edd9
millhand watch JOB --json | jq '.tasks[] | select(.run.resultCode == "Failed") | .run.error'
""",
)
@click.argument("job_id")
@output_options
@api_settings
def command(*, job_id: str, out: Output, api: ApiConfig) -> int:
    """Follow the job JOB_ID until it is done; exit 0 if every task succeeded, else 1.

    Ctrl-C ends the watching, not the job.
    """
    from worker.cli.session import with_session

    return with_session(api, lambda session: follow_to_end(session, job_id, out))


async def follow_to_end(session: Session, job_id: str, out: Output, *, task_ids: Sequence[str] = ()) -> int:
    """Follow a job to its end, show how each task ended, and return the exit code.

    `task_ids` are the tasks that it must have, in order, where that is known.
    """
    from worker.cli.follow import follow
    from worker.cli.local import is_loopback
    from worker.cli.outcomes import common_place, outcome_table, read_outcomes

    try:
        job = await follow(session, job_id, out, total=len(task_ids))
        outcomes = await read_outcomes(session, job_id, task_ids)
    except asyncio.CancelledError:
        out.say(f"\nthe job goes on; follow it again: millhand watch {job_id}")
        raise
    if out.is_json:
        out.json({"job": job.raw, "tasks": [one.as_json() for one in outcomes]})
    else:
        out.table(outcome_table(outcomes))
        out.say(verdict(outcomes))
        if place := common_place(outcomes):
            where = "files" if is_loopback(session.config.url) or "://" in place else "files, on the workers"
            out.say(f"{where}: {place}")
    return ExitCode.OK if all(one.has_succeeded for one in outcomes) else ExitCode.FAILED


def verdict(outcomes: list[TaskOutcome]) -> str:
    """Say in a line how it went."""
    failed = sum(one.result == "Failed" for one in outcomes)
    good = sum(one.has_succeeded for one in outcomes)
    rest = len(outcomes) - failed - good
    parts = [f"{human.count(good, 'task')} succeeded", f"{failed} failed"]
    return ", ".join(parts + ([f"{rest} without a result"] if rest else []))
