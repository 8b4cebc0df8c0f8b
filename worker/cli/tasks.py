"""`millhand tasks`: list tasks, or show one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.cli.api_settings import api_settings
from worker.cli.command import command as make_command
from worker.cli.options import limit_of, limit_options
from worker.cli.terminal import Output, output_options
from worker.config import ApiConfig

if TYPE_CHECKING:
    from worker.api.models import Task

__all__ = ["command"]


@make_command(
    "tasks",
    examples="""
millhand tasks --job 4bd52287-0f1a-4617-8f0e-dc6b8949edd9
millhand tasks --status pending --type mesh-convert
millhand tasks --job JOB --all --json | jq -r '.tasks[] | select(.runResult == "Failed") | .id'
""",
)
@click.argument("task_id", required=False)
@click.option("--job", "job_id", metavar="JOB_ID", help="Only tasks of this job.")
@click.option(
    "--status", type=click.Choice(["pending", "running", "stopped"]), help="Only tasks of this status."
)
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="Only tasks of this type; several times."
)
@click.option("--sort", metavar="±FIELD", help="+createdAt: the oldest first, -createdAt: the newest first.")
@limit_options
@output_options
@api_settings
def command(
    *,
    task_id: str | None,
    job_id: str | None,
    status: str | None,
    types: tuple[str, ...],
    sort: str | None,
    limit: int,
    everything: bool,
    out: Output,
    api: ApiConfig,
) -> int:
    """List tasks, or show the one with TASK_ID."""
    from worker.cli.session import Session, with_session

    async def work(session: Session) -> None:
        if task_id is not None:
            show(out, await session.ask(lambda: session.api.get_task(task_id)))
            return
        tasks = await session.pages(
            lambda page, per_page: session.api.list_tasks(
                job_id=job_id, run_status=status, types=types, page=page, per_page=per_page, sort=sort
            ),
            limit_of(limit, everything),
        )
        # a server that does not know `type=` answers with every type
        show_all(out, [task for task in tasks if not types or task.type in types])

    with_session(api, work)
    return 0


def show_all(out: Output, tasks: list[Task]) -> None:
    """Write a list of tasks."""
    if out.is_json:
        out.json({"tasks": [task.raw for task in tasks]})
    elif tasks:
        from worker.cli.view import tasks_table

        out.table(tasks_table(tasks))
    else:
        out.say("no tasks")


def show(out: Output, task: Task) -> None:
    """Write one task."""
    if out.is_json:
        out.json(task.raw)
        return
    from worker.cli import human
    from worker.cli.jobs import as_json
    from worker.cli.view import record, status_text

    pairs = [
        ("job", task.job_id), ("title", task.title), ("type", task.type), ("priority", task.priority),
        ("status", status_text(task.run_status)), ("result", status_text(task.run_result)),
        ("progress", human.percent(task.run_progress)), ("created", human.instant(task.created_at)),
        ("parameters", as_json(task.parameters)),
    ]  # fmt: skip
    record(out, f"task {task.id}", pairs)
    out.say(f"its runs: millhand runs --task {task.id}")
