"""How many tasks a second, and what each costs."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, structs

from tests.bench.caller import Caller
from tests.bench.figure import Figure
from tests.bench.proc import cpu_of_tree_s, pss_of_tree_bytes
from tests.bench.world import Agent, Server, running_agent

__all__ = ["Work", "create_tasks", "measure_throughput", "wait_for", "work_off"]

LOOK_EVERY_S: Final = 0.05
STALLED_S: Final = 60.0
LONGEST_S: Final = 20.0  # then what is done by then is enough: the machine has other things to do
TYPE: Final = "bench-noop"
NAP_S: Final = 1.0  # of the first task of each slot: children start beside each other, a few a second
NAP_A_SLOT_S: Final = 0.15


class Sight(Struct, frozen=True):
    """What is seen at one moment."""

    at_s: float
    stopped: int
    agent_cpu_s: float
    server_cpu_s: float
    database_cpu_s: float | None = None  # where it is a process of its own


class Work(Struct, frozen=True):
    """What one agent did between two sights."""

    first: Sight
    last: Sight
    pss_bytes: int | None  # of its tree, in the midst of it

    @property
    def count(self) -> int:
        """Tasks."""
        return self.last.stopped - self.first.stopped

    @property
    def tasks_per_s(self) -> float:
        """How fast."""
        return self.count / (self.last.at_s - self.first.at_s)

    @property
    def agent_ms(self) -> float:
        """CPU of agent and children, a task."""
        return (self.last.agent_cpu_s - self.first.agent_cpu_s) / self.count * 1e3

    @property
    def server_ms(self) -> float:
        """CPU of the server, a task."""
        return (self.last.server_cpu_s - self.first.server_cpu_s) / self.count * 1e3

    @property
    def database_ms(self) -> float | None:
        """CPU of the database, a task; None where it is a part of the server."""
        if self.first.database_cpu_s is None or self.last.database_cpu_s is None:
            return None
        return (self.last.database_cpu_s - self.first.database_cpu_s) / self.count * 1e3


def measure_throughput(
    server: Server, caller: Caller, folder: Path, *, slots: int, tasks: int
) -> list[Figure]:
    """Let one agent work off noop tasks that wait already."""
    work = work_off(server, caller, folder / f"agent-{slots}-slots", slots=slots, tasks=tasks)
    note = f"{work.count} noop tasks"
    with_slots = f"{slots} slots"
    memory = None if work.pss_bytes is None else work.pss_bytes / 2**20
    costs = {
        "agent and children": work.agent_ms,
        "the server": work.server_ms,
        "PostgreSQL": work.database_ms,
    }
    return [
        Figure(name=f"throughput, {with_slots}", value=work.tasks_per_s, unit="tasks/s", note=note),
        *(
            Figure(name=f"  CPU of {what}, {with_slots}", value=value, unit="ms/task", note=note)
            for what, value in costs.items()
            if value is not None
        ),
        Figure(
            name=f"  memory under load, {with_slots}",
            value=memory,
            unit="MiB",
            note="PSS of the agent's tree",
        ),
    ]


def work_off(
    server: Server,
    caller: Caller,
    folder: Path,
    *,
    slots: int,
    tasks: int,
    type_: str = TYPE,
    parameters: dict[str, Any] | None = None,
) -> Work:
    """Let one agent do tasks that become pending all at once, when each of its slots has a warm child.

    A slow machine does what it can in LONGEST_S; the rest is cancelled.
    """
    given = parameters or {}
    job = create_tasks(caller, type_, tasks, given, state="paused")
    with running_agent(server.url, folder, slots) as agent:
        nap_s = NAP_S + NAP_A_SLOT_S * slots
        warm = create_tasks(caller, type_, slots, {**given, "nap_s": nap_s})
        first = structs.replace(wait_for(slots, warm, caller, server, agent), stopped=0)
        caller.set_state(job, "active")
        wait_for(tasks // 2, job, caller, server, agent, until_s=first.at_s + LONGEST_S / 2)
        memory = pss_of_tree_bytes(agent.pid)
        last = wait_for(tasks, job, caller, server, agent, until_s=first.at_s + LONGEST_S)
    if failures := caller.job(job)["taskResultFailures"]:
        raise agent.error(f"{failures} of {tasks} {type_} tasks failed")
    if not last.stopped:
        raise agent.error(f"none of {tasks} {type_} tasks was done within {LONGEST_S:.0f} s")
    if last.stopped < tasks:
        caller.set_state(job, "cancelled")  # nothing of it shall be in the way of what comes next
    return Work(first, last, memory)


def create_tasks(
    caller: Caller,
    type_: str,
    tasks: int,
    parameters: dict[str, Any] | None = None,
    state: str = "active",
) -> str:
    """Create a job with so many tasks, active or paused; return its id."""
    job = caller.create_job(type_)
    if state != "active":
        caller.set_state(job, state)
    for _ in range(tasks):
        caller.create_task(job, type_, parameters)
    return job


def wait_for(
    count: int,
    job: str,
    caller: Caller,
    server: Server,
    agent: Agent,
    *,
    look_every_s: float = LOOK_EVERY_S,
    until_s: float = math.inf,
) -> Sight:
    """Look until at least `count` tasks have stopped, or a time; fail when nothing moves for a minute."""
    moved_at, seen = time.monotonic(), -1
    while True:
        stopped = caller.job(job)["taskStatusStopped"]
        now = time.monotonic()
        if stopped >= count or now >= until_s:
            database_cpu_s = cpu_of_tree_s(server.database_pid) if server.database_pid else None
            return Sight(now, stopped, cpu_of_tree_s(agent.pid), cpu_of_tree_s(server.pid), database_cpu_s)
        if stopped != seen:
            moved_at, seen = now, stopped
        if now - moved_at > STALLED_S:
            raise agent.error(f"stuck at {stopped} of {count} tasks for {STALLED_S:.0f} s")
        agent.check()
        server.check()
        time.sleep(look_every_s)
