"""Checks of the server: does it answer, does it accept us, does its clock agree, what waits there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from worker.api.errors import ApiError, Forbidden, Unauthorized
from worker.cli import human
from worker.cli.checks import Check, fail, ok, warn
from worker.cli.exits import CliError
from worker.cli.session import explain, session
from worker.config import AgentConfig

if TYPE_CHECKING:
    from worker.api.models import Task
    from worker.machine.facts import Facts

__all__ = ["check_clock", "check_pending", "check_server"]

CLOCK_MAX: Final = timedelta(seconds=5)  # times of day are shown to people side by side
REASONS_MAX: Final = 5
PENDING_MAX: Final = 100  # of one look


async def check_server(config: AgentConfig, facts: Facts, types: Collection[str]) -> list[Check]:
    """Ask the server once, and look at what it says."""
    try:
        async with session(config.api) as opened:
            started = time.monotonic()
            tasks = await opened.api.list_tasks(run_status="pending", per_page=PENDING_MAX)
            took_s = time.monotonic() - started
            answered = ok(
                "server", f"{config.api.url} answers and accepts the token ({human.duration(took_s)})"
            )
            return [answered, check_clock(opened.api.traits.date), check_pending(config, facts, types, tasks)]
    except ApiError as exc:
        return [refused(exc, config)]
    except CliError as exc:
        return [fail("server", exc.message, exc.todo)]


def refused(exc: ApiError, config: AgentConfig) -> Check:
    """Return the check of a server that did not answer well."""
    error = explain(exc, config.api)
    if isinstance(exc, Unauthorized | Forbidden):
        todo = (
            "check MILLHAND_TOKEN_FILE or MILLHAND_TOKEN; `millhand up` keeps its token in its state folder"
        )
        return fail("server", f"answers, but does not accept us: {error.message}", todo)
    todo = "is it up? check MILLHAND_API_URL, and MILLHAND_PROXY and MILLHAND_CA_FILE where they are needed"
    return fail("server", error.message, todo if exc.status is None else "see the server's log")


def check_clock(date: datetime | None, now: datetime | None = None) -> Check:
    """Compare the server's clock with ours; the agent works all the same, people are misled."""
    if date is None:
        return ok("clock", "the server does not tell its time")
    ahead = (now or datetime.now(UTC)) - date
    if abs(ahead) > CLOCK_MAX + timedelta(seconds=1):  # the header has whole seconds
        way = "ahead of" if ahead > timedelta(0) else "behind"
        said = f"this machine is {human.duration(abs(ahead.total_seconds()))} {way} the server"
        return warn("clock", said, "set the clocks by NTP; times of runs are misleading until then")
    return ok("clock", "agrees with the server's")


def check_pending(config: AgentConfig, facts: Facts, types: Collection[str], tasks: list[Task]) -> Check:
    """Say which pending tasks this machine would leave, and why."""
    left = [(reason, task) for task in tasks if (reason := why_left(config, facts, types, task))]
    reasons = Counter(reason for reason, _ in left)
    example = {reason: task.id for reason, task in reversed(left)}
    waiting = human.count(len(tasks), "task") + (" or more" if len(tasks) >= PENDING_MAX else "")
    if not reasons:
        return ok("pending tasks", f"{waiting} pending, all of them could run here" if tasks else "none")
    shown = "".join(
        f"\n{number} × {reason} ({'task' if number == 1 else 'the first is task'} {example[reason]})"
        for reason, number in reasons.most_common(REASONS_MAX)
    )
    if len(reasons) > REASONS_MAX:
        shown += f"\nand {human.count(len(reasons) - REASONS_MAX, 'other reason')}"
    return warn(
        "pending tasks",
        f"of {waiting} pending, this machine leaves {len(left)}:{shown}",
        "install or configure what is missing (--handlers, --types, --labels), or leave them to others",
    )


def why_left(config: AgentConfig, facts: Facts, types: Collection[str], task: Task) -> str | None:
    """Return why this machine would not take a task; None where it would."""
    from worker.agent.placement import unmet

    if config.types and task.type not in config.types:
        return f"type {task.type!r} is not among --types"
    if task.type not in types:
        return f"no handler for type {task.type!r}"
    return "; ".join(unmet(task.parameters.get("requires"), facts, config.labels)) or None
