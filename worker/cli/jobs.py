"""`millhand jobs`: list jobs, or show one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.cli.api_settings import api_settings
from worker.cli.command import command as make_command
from worker.cli.options import limit_of, limit_options
from worker.cli.terminal import Output, output_options
from worker.config import ApiConfig

if TYPE_CHECKING:
    from worker.api.models import Job

__all__ = ["command"]


@make_command(
    "jobs",
    examples="""
millhand jobs                          # the newest 30
millhand jobs --status running         # what is going on
millhand jobs 4bd52287-0f1a-4617-8f0e-dc6b8949edd9
millhand jobs --all --json | jq '.jobs[] | select(.taskResultFailures > 0) | .id'
""",
)
@click.argument("job_id", required=False)
@click.option(
    "--status", type=click.Choice(["pending", "running", "stopped"]), help="Only jobs of this status."
)
@click.option(
    "--sort", default="-createdAt", show_default=True, metavar="±FIELD",
    help="+createdAt: the oldest first, -createdAt: the newest first.",
)  # fmt: skip
@limit_options
@output_options
@api_settings
def command(
    *,
    job_id: str | None,
    status: str | None,
    sort: str,
    limit: int,
    everything: bool,
    out: Output,
    api: ApiConfig,
) -> int:
    """List jobs, or show the one with JOB_ID."""
    from worker.cli.session import Session, with_session

    async def work(session: Session) -> None:
        if job_id is not None:
            show(out, await session.ask(lambda: session.api.get_job(job_id)))
            return

        jobs = await session.pages(
            lambda page, per_page: session.api.list_jobs(
                status=status, page=page, per_page=per_page, sort=sort
            ),
            limit_of(limit, everything),
        )
        show_all(out, jobs)

    with_session(api, work)
    return 0


def show_all(out: Output, jobs: list[Job]) -> None:
    """Write a list of jobs."""
    if out.is_json:
        out.json({"jobs": [job.raw for job in jobs]})
    elif jobs:
        from worker.cli.view import jobs_table

        out.table(jobs_table(jobs))
    else:
        out.say("no jobs; `millhand submit --help` shows how to make one")


def show(out: Output, job: Job) -> None:
    """Write one job."""
    if out.is_json:
        out.json(job.raw)
        return
    from worker.cli import human
    from worker.cli.view import record, status_text

    pairs = [
        ("title", job.title), ("type", job.type), ("state", status_text(job.scheduler_state)),
        ("status", status_text(job.status)), ("priority", job.priority), ("organisation", job.org_id),
        ("created", human.instant(job.created_at)), ("updated", human.instant(job.updated_at)),
        ("tasks", job.task_count), ("pending", job.task_status_pending),
        ("running", job.task_status_running), ("stopped", job.task_status_stopped),
        ("succeeded", job.task_result_successes), ("failed", job.task_result_failures),
        ("progress", human.percent(job.task_progress)), ("parameters", as_json(job.parameters)),
    ]  # fmt: skip
    record(out, f"job {job.id}", pairs)


def as_json(value: dict[str, object]) -> str | None:
    """Return an object as JSON; None where it is empty."""
    import json

    return json.dumps(value, ensure_ascii=False) if value else None
