"""How long a task waits for an idle agent, and what an idle agent costs."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.caller import Caller
from tests.bench.counts import requests_of
from tests.bench.figure import Figure, percentile
from tests.bench.proc import cpu_of_living_s, pss_bytes, tree, waits_of, waits_of_tree
from tests.bench.world import Agent, Server, running_agent

__all__ = ["measure_idle_agent", "measure_pick_up", "wait_stopped"]

TYPE: Final = "bench-stamp"
WARM_UP: Final = 5  # tasks whose times are not counted
SLOTS: Final = 2
LONGEST_S: Final = 60.0
SETTLE_S: Final = 3.0  # after the last task, until nothing of it is going on
LOOK_S: Final = 0.02  # before each look: one at once would meet the claim, and take its core and its server
SEED: Final = 20261123  # gaps between tasks are random, and the same each time


def measure_pick_up(server: Server, caller: Caller, folder: Path, *, tasks: int) -> list[Figure]:
    """Start one agent with one task waiting; then give it tasks one by one."""
    job = caller.create_job(TYPE)
    task = caller.create_task(job, TYPE)
    with running_agent(server.url, folder / "quick-agent", SLOTS) as agent:
        start = start_up(agent, wait_stopped(task, caller, agent))
        gaps = random.Random(SEED)
        waits = [one_wait(job, caller, agent, gaps) for _ in range(WARM_UP + tasks)][WARM_UP:]
    return [*start, *pick_up(waits)]


def measure_idle_agent(server: Server, caller: Caller, folder: Path, *, idle_s: float) -> list[Figure]:
    """Let one agent do a task, and leave it alone then: its warm child waits, as it does."""
    job = caller.create_job(TYPE)
    with running_agent(server.url, folder / "idle-agent", SLOTS) as agent:
        wait_stopped(caller.create_task(job, TYPE), caller, agent)
        time.sleep(SETTLE_S)
        return leave_alone(server, agent, idle_s)


def start_up(agent: Agent, run: dict[str, Any]) -> list[Figure]:
    """Return how long the first task waited for the agent to come up."""
    claimed_s = dt.datetime.fromisoformat(run["startedAt"]).timestamp() - agent.started_ns / 1e9
    seconds = (run["results"]["begunNs"] - agent.started_ns) / 1e9
    return [
        Figure(name="start of the agent → first claim", value=claimed_s, unit="s"),
        Figure(name="start of the agent → first handler's first line", value=seconds, unit="s"),
    ]


def one_wait(job: str, caller: Caller, agent: Agent, gaps: random.Random) -> float:
    """Return the milliseconds from the start of a task's POST to the first line of its handler."""
    time.sleep(gaps.uniform(0.05, 0.25))
    posted_ns = time.time_ns()
    task = caller.create_task(job, TYPE)
    run = wait_stopped(task, caller, agent)
    return float(run["results"]["begunNs"] - posted_ns) / 1e6


def pick_up(waits: list[float]) -> list[Figure]:
    """Return the middle and the tail of the waits."""
    note = f"{len(waits)} tasks, POST → handler's first line"
    return [
        Figure(
            name=f"pick-up by an idle agent, p{ratio * 100:.0f}",
            value=percentile(waits, ratio),
            unit="ms",
            note=note,
        )
        for ratio in (0.5, 0.9, 0.99)
    ]


def leave_alone(server: Server, agent: Agent, idle_s: float) -> list[Figure]:
    """Return what agent and server use while nothing happens."""
    programs = {"agent": agent.pid, "server": server.pid}
    before = {name: cpu_of_living_s(pid) for name, pid in programs.items()}
    waits, own_waits, requests = waits_of_tree(agent.pid), waits_of(agent.pid), requests_of(server)
    time.sleep(idle_s)
    waits, own_waits = waits_of_tree(agent.pid) - waits, waits_of(agent.pid) - own_waits
    requests = requests_of(server) - requests
    after = {name: cpu_of_living_s(pid) for name, pid in programs.items()}
    note = f"over {idle_s:.0f} s"
    minute = 60 / idle_s
    return [
        *(idle_cpu(name, before[name], after[name], idle_s) for name in programs),
        Figure(
            name="idle, requests of the agent",
            value=requests * minute,
            unit="a minute",
            note=f"{note}, by the server's counters",
        ),
        Figure(
            name="idle, wake-ups of the agent",
            value=waits * minute,
            unit="a minute",
            note=f"{note}, voluntary_ctxt_switches of each thread of its tree",
        ),
        Figure(
            name="idle, wake-ups of its own process", value=own_waits * minute, unit="a minute", note=note
        ),
        *memories(server, agent),
    ]


def memories(server: Server, agent: Agent) -> list[Figure]:
    """Return what an agent that has done a task holds, what its warm child does, and the server."""
    below = [pid for pid in tree(agent.pid) if pid != agent.pid]
    minder, *children = below or [agent.pid]
    return [
        memory("idle memory, agent and those below it", [agent.pid, *below], f"PSS, {len(below)} below it"),
        memory("  the agent's own process", [agent.pid], "PSS"),
        memory("  its minder", [minder], "PSS"),
        memory("  its warm child", children, "PSS; its handler imports nothing but millhand"),
        memory("idle memory, server", [server.pid], "PSS"),
    ]


def idle_cpu(name: str, before_s: float | None, after_s: float | None, idle_s: float) -> Figure:
    """Return the part of one CPU that a program took."""
    if before_s is None or after_s is None:
        return Figure(name=f"idle CPU, {name}", value=None, unit="%", note="schedstat cannot be read here")
    value = (after_s - before_s) / idle_s * 100
    return Figure(name=f"idle CPU, {name}", value=value, unit="%", note=f"over {idle_s:.0f} s")


def memory(name: str, pids: Sequence[int], note: str) -> Figure:
    """Return the proportional memory of processes."""
    sizes = [pss_bytes(pid) for pid in pids]
    if not sizes or None in sizes:
        return Figure(name=name, value=None, unit="MiB", note="smaps_rollup cannot be read here")
    return Figure(name=name, value=sum(size or 0 for size in sizes) / 2**20, unit="MiB", note=note)


def wait_stopped(task: str, caller: Caller, agent: Agent) -> dict[str, Any]:
    """Return the run of a task when it has stopped with success."""
    end = time.monotonic() + LONGEST_S
    run = None
    while run is None:
        time.sleep(LOOK_S)
        agent.check()
        if time.monotonic() > end:
            raise agent.error(f"a task was not done within {LONGEST_S:.0f} s")
        run = caller.stopped_run(task)
    if run["resultCode"] != "Success":
        raise agent.error(f"a task failed: {run['error']}")
    return run
