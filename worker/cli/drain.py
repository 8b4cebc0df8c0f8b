"""`millhand drain`: end the agent on this machine in order, and see how it goes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import human
from worker.cli.agent_here import AgentHere, agent_here, agent_setting
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.terminal import Output, output_options
from worker.cli.values import DURATION

if TYPE_CHECKING:
    from worker.cli.waiting_line import Line

__all__ = ["command"]

LOOK_S: Final = 0.25
LATE_S: Final = 30.0  # beyond its own deadline: then something is wrong, and a person must know


@make_command(
    "drain",
    examples="""
millhand drain                             # as SIGTERM does: within the agent's --drain-timeout
millhand drain --timeout 2h --wait         # let long runs finish, and come back when the agent is gone
millhand drain --now --wait                # stop what runs; its tasks go on elsewhere
millhand drain --wait && apt-get upgrade
""",
)
@click.option(
    "--timeout", type=DURATION, metavar="TIME",
    help="How long runs may go on, also beyond the agent's own --drain-timeout; 0: stop them now.",
)  # fmt: skip
@click.option("--now", is_flag=True, help="Stop them now: a few seconds for the last reports are left.")
@click.option("--wait", is_flag=True, help="Come back when the agent is gone; tell what it waits for.")
@agent_setting
@output_options
def command(*, timeout: float | None, now: bool, wait: bool, state_dir: Path | None, out: Output) -> int:
    """Let the running agent end: it claims nothing more, what runs may finish, everything is reported.

    What does not finish in time is stopped, saves a checkpoint where its handler does so, and goes on
    elsewhere. A second drain can bring the end nearer, never put it off. A service manager that starts its
    agents again does so; stop the service instead, or pause the agent.

    Exit codes with --wait: 0 the agent is gone; 1 it is not, half a minute after its own deadline.
    """
    if now and timeout is not None:
        raise CliError("--now and --timeout exclude each other", code=ExitCode.USAGE)
    agent = agent_here(state_dir)
    answer = agent.ask("drain", isNow=now, withinS=timeout)
    if note := answer.get("note"):
        out.note(str(note))
    if not wait:
        told(agent, answer, out)
        return 0
    from worker.cli.waiting_line import waiting_line

    with waiting_line(out) as line:
        is_gone = wait_until_gone(agent, answer, line)
    return ended(agent, answer["pid"], is_gone, out)


def told(agent: AgentHere, answer: Mapping[str, Any], out: Output) -> None:
    """Say that it drains."""
    if out.is_json:
        out.json({"stateDir": agent.folder, "pid": answer["pid"], **answer["status"]})
    out.say(f"the agent (pid {answer['pid']}) drains: {waits_for(answer['status'])}")


def waits_for(status: Mapping[str, Any]) -> str:
    """Return what a draining agent waits for, in a line."""
    said = [human.count(status["slots"]["busy"], "run")]
    if status["storing"]:
        said.append(f"files of {human.count(status['storing'], 'run')}")
    if undelivered := status["journal"]["undelivered"]:
        said.append(human.count(undelivered, "outcome"))
    runs = ", ".join(f"{run['type']} {human.percent(run['progress'])}" for run in status["runs"][:4])
    runs += " …" if len(status["runs"]) > 4 else ""
    left = human.rough((status["drain"] or {}).get("leftS"))
    return f"{', '.join(said)} to go" + f" ({runs})" * bool(runs) + f", {left} left at most"


def wait_until_gone(agent: AgentHere, answer: Mapping[str, Any], line: Line) -> bool:
    """Wait until the agent that answered is gone; False where it is not, long after its deadline."""
    pid = answer["pid"]
    end_mono = time.monotonic() + (answer["status"]["drain"] or {}).get("leftS", 0.0) + LATE_S
    while time.monotonic() < end_mono:
        line.say(f"draining: {waits_for(answer['status'])}")
        time.sleep(LOOK_S)
        try:
            answer = agent.ask("status")
        except CliError:
            if agent.pid != pid:
                return True
            continue
        if answer["pid"] != pid:
            return True  # a service manager has started the next one already
        if (drain := answer["status"]["drain"]) is not None:
            end_mono = min(end_mono, time.monotonic() + drain["leftS"] + LATE_S)
    return False


def ended(agent: AgentHere, pid: int, is_gone: bool, out: Output) -> int:
    """Say how it ended, and what it left."""
    left = open_entries(agent.folder) if is_gone else None
    if out.is_json:
        out.json({"stateDir": agent.folder, "pid": pid, "isGone": is_gone, "openEntries": left})
    if not is_gone:
        out.note(f"the agent (pid {pid}) is there still, {LATE_S:.0f} s after it should have ended")
        out.note(f"kill -USR1 {pid} writes into its log what it is at; a SIGKILL loses no finished result")
        return ExitCode.FAILED
    out.say(f"the agent (pid {pid}) is gone")
    if left:
        kept = human.count(left, "run")
        out.note(f"{kept} open in its journal: the next start takes them up; `millhand journal` shows them")
    return ExitCode.OK


def open_entries(folder: Path) -> int | None:
    """Return how many entries a journal has; None where it cannot be read."""
    from worker import log
    from worker.reporting.onlook import look

    log.configure("error")
    try:
        return len(look(folder / "journal").entries)
    except (OSError, ValueError):  # not ours to read, or of a newer version
        return None
