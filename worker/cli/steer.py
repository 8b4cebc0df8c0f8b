"""`millhand pause`, `resume` and `cancel`: say what is wanted of a job, or of the agent here.

The documented API cannot change a job's `schedulerState`; our server can. The answer tells whether
it did: nothing is said to be done that was not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from worker.cli.agent_here import agent_here, agent_setting
from worker.cli.api_settings import api_settings
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.terminal import Output, output_options
from worker.config import ApiConfig

__all__ = ["cancel", "pause", "resume"]

JOB: Final = "4bd52287-0f1a-4617-8f0e-dc6b8949edd9"


@make_command("pause", examples=f"""
millhand pause {JOB}
millhand pause --agent --reason "GPU 1 looks odd, Kim"     # the agent on this machine
""")  # fmt: skip
@click.argument("job_id", required=False)
@click.option("--agent", "is_agent", is_flag=True, help="Pause the agent on this machine, and no job.")
@click.option("--reason", metavar="TEXT", help="Why, for whoever looks at the paused agent.")
@agent_setting
@output_options
@api_settings
def pause(
    *,
    job_id: str | None,
    is_agent: bool,
    reason: str | None,
    state_dir: Path | None,
    out: Output,
    api: ApiConfig,
) -> int:
    """Start nothing new of the job JOB_ID, on any machine; what runs goes on.

    With --agent and without JOB_ID: the agent on this machine claims nothing more, of any job. What runs goes
    on, and is reported. It holds until `millhand resume --agent`, also when the agent is started again.
    """
    check_choice("pause", job_id, is_agent, reason)
    if job_id is None:
        return tell_agent(
            "pause", out, state_dir, "claims nothing more; `millhand resume --agent` goes on", reason
        )
    return steer("pause", job_id, "paused", "is paused; `millhand resume` goes on", out=out, api=api)


@make_command("resume", examples=f"""
millhand resume {JOB}
millhand resume --agent                                    # the agent on this machine
""")  # fmt: skip
@click.argument("job_id", required=False)
@click.option("--agent", "is_agent", is_flag=True, help="Let the agent on this machine go on, and no job.")
@agent_setting
@output_options
@api_settings
def resume(*, job_id: str | None, is_agent: bool, state_dir: Path | None, out: Output, api: ApiConfig) -> int:
    """Go on with the paused job JOB_ID; with --agent, let the agent on this machine claim again."""
    check_choice("resume", job_id, is_agent, None)
    if job_id is None:
        return tell_agent("resume", out, state_dir, "is not paused any more", None)
    return steer("resume", job_id, "active", "is active again", out=out, api=api)


@make_command("cancel", examples=f"\nmillhand cancel {JOB}\n")
@click.argument("job_id")
@output_options
@api_settings
def cancel(*, job_id: str, out: Output, api: ApiConfig) -> int:
    """Stop the job JOB_ID: start nothing of it, and end what runs. This cannot be undone."""
    return steer(
        "cancel", job_id, "cancelled", "is cancelled; what runs of it ends within seconds", out=out, api=api
    )


def check_choice(name: str, job_id: str | None, is_agent: bool, reason: str | None) -> None:
    """See that either a job or the agent is meant.

    Raises: CliError where it is both, or neither.
    """
    if is_agent == (job_id is not None):
        said = f"name a job, or --agent, and not both: {name} JOB_ID, or {name} --agent"
        raise CliError(said, f"see: millhand {name} --help", code=ExitCode.USAGE)
    if reason is not None and not is_agent:
        raise CliError("--reason is for --agent; a job keeps none", code=ExitCode.USAGE)


def tell_agent(do: str, out: Output, state_dir: Path | None, done: str, reason: str | None) -> int:
    """Have the agent on this machine do it."""
    agent = agent_here(state_dir)
    answer = agent.ask(do, **({} if reason is None else {"reason": reason}))
    if note := answer.get("note"):
        out.note(str(note))
    if out.is_json:
        out.json({"stateDir": agent.folder, "pid": answer["pid"], **answer["status"]})
    out.say(f"the agent (pid {answer['pid']}, {agent.folder}) {done}")
    return 0


def steer(name: str, job_id: str, state: str, done: str, *, out: Output, api: ApiConfig) -> int:
    """Set a job's `schedulerState`."""
    from worker.cli.session import Session, with_session

    async def work(session: Session) -> None:
        job = await session.ask(lambda: session.api.update_job(job_id, {"schedulerState": state}))
        if job.scheduler_state != state:
            raise cannot(name, job_id, job.scheduler_state)
        if out.is_json:
            out.json(job.raw)
        out.say(f"job {job_id} {done}")
        if state == "active" and job.task_count and job.task_status_stopped == job.task_count:
            out.note(f"all {job.task_count} tasks of it have stopped before: nothing of it runs again")

    with_session(api, work)
    return 0


def cannot(name: str, job_id: str, state: str | None) -> CliError:
    """Return the error of a server that did not do it."""
    return CliError(
        f"this server cannot {name} a job: {job_id} still has schedulerState {state or 'unknown'}",
        "the documented API has no way to set it; use the server's own tools",
        code=ExitCode.REFUSED,
    )
