"""`millhand reap`: give up runs that nobody has reported on for long, and requeue their tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.cli.api_settings import api_settings
from worker.cli.command import command as make_command
from worker.cli.exits import ExitCode
from worker.cli.terminal import Output, output_options
from worker.cli.values import TIME_LIMIT
from worker.config import ApiConfig

if TYPE_CHECKING:
    from worker.cli.reaping import Ending, Silent

__all__ = ["command"]


@make_command(
    "reap",
    examples="""
millhand reap --silent-for 1h                          # only shows what it would do
millhand reap --silent-for 1h --type render --yes
millhand reap --silent-for 10m --pod-id gpu-host-7 --yes   # that machine is gone for good
""",
)
@click.option(
    "--silent-for", "silent_s", type=TIME_LIMIT, required=True, metavar="TIME",
    help="How long a run must not have been reported on, by the server's own clock.",
)  # fmt: skip
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="Only tasks of this type; several times."
)
@click.option("--job", "job_id", metavar="JOB_ID", help="Only this job; all its runs are looked at.")
@click.option("--pod-id", metavar="ID", help="Only runs of this agent: its podId, or the part before the /.")
@click.option("--yes", is_flag=True, help="Do it; without, it is only shown.")
@output_options
@api_settings
def command(
    *,
    silent_s: float,
    types: tuple[str, ...],
    job_id: str | None,
    pod_id: str | None,
    yes: bool,
    out: Output,
    api: ApiConfig,
) -> int:
    """Give up runs that nobody has reported on for long: stop them as worker_lost, and requeue their tasks.

    For servers that grant no leases; where a run has one, the server does it itself. A silent run is not
    always a dead one: it may be going on with an agent that is cut off from the server, and its task is
    then executed twice, until that agent reaches the server and ends it; or it belongs to a client that
    never reports. And where a server does not renew updatedAt with each report, every run looks silent.
    Take a time far above the heartbeat of the agents, and look at the list before you say --yes.
    """
    from worker.cli.reaping import Wanted, close, find
    from worker.cli.session import Session, with_session

    wanted = Wanted(silent_s=silent_s, types=types, job_id=job_id, pod_id=pod_id)

    async def work(session: Session) -> tuple[list[Silent], list[Ending]]:
        found = await find(session, wanted)
        if not out.is_json:
            show(out, found, wanted.silent_s)
        if not yes:
            return found, []
        return found, [await close(session, one, wanted) for one in found if not one.is_leased]

    found, endings = with_session(api, work)
    return tell(out, found, endings, yes)


def show(out: Output, found: list[Silent], silent_s: float) -> None:
    """Show what is silent, and whom it may hit."""
    from worker.cli import human

    if not found:
        out.say(f"no run has been silent for {human.duration(silent_s)}")
        return
    from worker.cli.reap_view import silent_table

    out.table(silent_table(found))
    if leased := sum(one.is_leased for one in found):
        out.say(
            f"{human.count(leased, 'run')} with a lease, left alone: the server gives up such runs by itself"
        )
    if any(one.is_by_creation for one in found):
        out.note("the server does not tell when some were last reported on: counted from their creation")


def tell(out: Output, found: list[Silent], endings: list[Ending], yes: bool) -> int:
    """Say what was done; return the exit code."""
    if out.is_json:
        out.json({
            "dryRun": not yes, "silent": [one.as_json() for one in found],
            "ended": [ending.as_json() for ending in endings],
        })  # fmt: skip
    for ending in endings:
        out.say(f"{ending.run_id}: {ending.said}")
    count = sum(not one.is_leased for one in found)
    if count and not yes:
        out.say(
            f"nothing was done; --yes gives {'it' if count == 1 else f'all {count}'} up. What still runs,"
            " cut off or without reports, is then executed twice"
        )
    return ExitCode.OK if all(ending.is_done for ending in endings) else ExitCode.FAILED
