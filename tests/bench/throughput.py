"""How many tasks a second, and what each costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.bench.caller import Caller
from tests.bench.figure import Figure
from tests.bench.proc import cpu_of_tree_s
from tests.bench.world import Agent, Server, running_agent

__all__ = ["measure_throughput"]

LOOK_EVERY_S: Final = 0.05
STALLED_S: Final = 60.0


class Sight(Struct, frozen=True):
    """What is seen at one moment."""

    at_s: float
    stopped: int
    agent_cpu_s: float
    server_cpu_s: float
    database_cpu_s: float | None = None  # where it is a process of its own


def measure_throughput(
    server: Server, caller: Caller, folder: Path, *, slots: int, tasks: int
) -> list[Figure]:
    """Let one agent work off tasks that wait already; count after the first tenth, when children are warm."""
    job = caller.create_job("noop")
    for _ in range(tasks):
        caller.create_task(job, "noop")
    with running_agent(server.url, folder / f"agent-{slots}-slots", slots) as agent:
        first = wait_for(tasks // 10, job, caller, server, agent)
        last = wait_for(tasks, job, caller, server, agent)
    if failures := caller.job(job)["taskResultFailures"]:
        raise agent.error(f"{failures} of {tasks} noop tasks failed")
    return figures(first, last, slots)


def figures(first: Sight, last: Sight, slots: int) -> list[Figure]:
    """Return the figures of what lies between two sights."""
    count = last.stopped - first.stopped
    note = f"{count} noop tasks"
    database = []
    if first.database_cpu_s is not None and last.database_cpu_s is not None:
        database.append(
            Figure(
                name=f"  CPU of PostgreSQL, {slots} slots",
                value=(last.database_cpu_s - first.database_cpu_s) / count * 1e3,
                unit="ms/task",
                note=note,
            )
        )
    return [
        Figure(
            name=f"throughput, {slots} slots",
            value=count / (last.at_s - first.at_s),
            unit="tasks/s",
            note=note,
        ),
        Figure(
            name=f"  CPU of agent and children, {slots} slots",
            value=(last.agent_cpu_s - first.agent_cpu_s) / count * 1e3,
            unit="ms/task",
            note=note,
        ),
        Figure(
            name=f"  CPU of the server, {slots} slots",
            value=(last.server_cpu_s - first.server_cpu_s) / count * 1e3,
            unit="ms/task",
            note=note,
        ),
        *database,
    ]


def wait_for(
    count: int,
    job: str,
    caller: Caller,
    server: Server,
    agent: Agent,
    *,
    look_every_s: float = LOOK_EVERY_S,
) -> Sight:
    """Look until at least `count` tasks have stopped; fail when nothing moves for a minute."""
    moved_at, seen = time.monotonic(), -1
    while True:
        stopped = caller.job(job)["taskStatusStopped"]
        now = time.monotonic()
        if stopped >= count:
            database_cpu_s = cpu_of_tree_s(server.database_pid) if server.database_pid else None
            return Sight(now, stopped, cpu_of_tree_s(agent.pid), cpu_of_tree_s(server.pid), database_cpu_s)
        if stopped != seen:
            moved_at, seen = now, stopped
        if now - moved_at > STALLED_S:
            raise agent.error(f"stuck at {stopped} of {count} tasks for {STALLED_S:.0f} s")
        agent.check()
        server.check()
        time.sleep(look_every_s)
