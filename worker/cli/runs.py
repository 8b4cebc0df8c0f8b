"""`millhand runs`: list runs of a job or task, or show one with its results, usage and machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.api_settings import api_settings
from worker.cli.command import command as make_command
from worker.cli.options import limit_of, limit_options
from worker.cli.terminal import Output, output_options
from worker.config import ApiConfig

if TYPE_CHECKING:
    from worker.api.models import Run

__all__ = ["command"]

MACHINE: Final = (
    "podId", "cpuPlatform", "machineType", "gpuType", "instanceID", "zone", "preemptible",
    "requestCPUs", "limitCPUs", "nodeCPUs",
)  # fmt: skip
MEMORY: Final = ("requestRAM", "limitRAM", "nodeRAM")


@make_command(
    "runs",
    examples="""
millhand runs --job 4bd52287-0f1a-4617-8f0e-dc6b8949edd9
millhand runs --job 4bd52287-0f1a-4617-8f0e-dc6b8949edd9 --bill --all
millhand runs --task 9ca1d8c6-e825-4120-985b-0ee454dda1d4
millhand runs 19f80218-d11a-466d-8641-dfa0ebfece66         # results, usage, machine, error
""",
)
@click.argument("run_id", required=False)
@click.option("--job", "job_id", metavar="JOB_ID", help="The runs of this job.")
@click.option("--task", "task_id", metavar="TASK_ID", help="The runs of this task.")
@click.option("--bill", "is_bill", is_flag=True, help="What each run consumed, and all together.")
@limit_options
@output_options
@api_settings
def command(
    *,
    run_id: str | None,
    job_id: str | None,
    task_id: str | None,
    is_bill: bool,
    limit: int,
    everything: bool,
    out: Output,
    api: ApiConfig,
) -> int:
    """List the runs of a job or a task, or show the one with RUN_ID."""
    if not (run_id or job_id or task_id):
        raise click.UsageError("say which runs: RUN_ID, --job JOB_ID or --task TASK_ID")
    from worker.cli.session import Session, with_session

    async def work(session: Session) -> None:
        if run_id is not None:
            run = await session.ask(lambda: session.api.get_run(run_id))
            show_bills(out, [run]) if is_bill else show(out, run)
            return
        runs = await session.pages(
            lambda page, per_page: session.api.list_runs(
                job_id=job_id, task_id=task_id, page=page, per_page=per_page
            ),
            limit_of(limit, everything),
        )
        show_bills(out, runs) if is_bill else show_all(out, runs)

    with_session(api, work)
    return 0


def show_all(out: Output, runs: list[Run]) -> None:
    """Write a list of runs."""
    if out.is_json:
        out.json({"runs": [run.raw for run in runs]})
    elif runs:
        from worker.cli.view import runs_table

        out.table(runs_table(runs))
    else:
        out.say("no runs")


def show_bills(out: Output, runs: list[Run]) -> None:
    """Write what runs consumed; those that have not begun are left out."""
    from worker.cli.bill import bill_table, bills_document

    if out.is_json:
        out.json(bills_document(runs))
    elif any(run.started_at is not None for run in runs):
        out.table(bill_table(runs))
    else:
        out.say("no run has begun")


def show(out: Output, run: Run) -> None:
    """Write one run."""
    if out.is_json:
        out.json(run.raw)
        return
    from worker.cli import human
    from worker.cli.attempts import next_attempt
    from worker.cli.bill import usage_pairs
    from worker.cli.view import record, status_text

    said = next_attempt(run)
    following = [("next attempt", said)] if said is not None else []
    pairs: list[tuple[str, object]] = [
        ("task", run.task_id), ("job", run.job_id), ("status", status_text(str(run.status))),
        ("result", status_text(run.result_code)), ("error", run.error), *following,
        ("progress", human.percent(run.progress)), ("created", human.instant(run.created_at)),
        ("started", human.instant(run.started_at)), ("stopped", human.instant(run.stopped_at)),
    ]  # fmt: skip
    record(out, f"run {run.id}", pairs)
    record(out, "\nusage", usage_pairs(run))
    record(out, "\nmachine", machine(run.raw))
    results = {name: value for name, value in run.results.items() if name != "usage"}
    if results:
        out.console().print("\nresults")
        out.console().print_json(json.dumps(results, default=str))


def machine(raw: dict[str, Any]) -> list[tuple[str, object]]:
    """Return the facts of the machine that a run carries."""
    from worker.api import wire
    from worker.cli import human

    sizes = [(name, human.size(wire.as_float(raw.get(name)))) for name in MEMORY]
    return [(name, raw.get(name)) for name in MACHINE] + sizes
