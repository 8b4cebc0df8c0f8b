"""Over agents on one server: how many claims are lost, on ours and on one that only lists what is pending.

Each agent is a process of its own, with one slot, warm child and journal, and the settings it has by default.
All have asked for work before any is there; then the tasks come in one burst, each of a fifth of a second.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from tests.bench.counts import done
from tests.bench.curves.axes import Extent
from tests.bench.figure import Figure, Place
from tests.bench.world import TOKEN, Agent, BenchError, running_agent, running_server
from tests.foreign.http import Request
from tests.foreign.server import foreign_server
from worker.agent.identity import PROBE

__all__ = ["over_agents"]

LISTING_MOST: Final = 16  # agents; the server of the tests is one thread of ours
TASKS: Final = 4  # for each agent
LEAST: Final = 64  # tasks of all
TYPE: Final = "bench-nap"
UP_S: Final = 120.0
STALLED_S: Final = 90.0
LOOK_EVERY_S: Final = 0.1
WAITING: Final = re.compile(r"^millhand_server_waiting_polls (\S+)$", re.MULTILINE)
PANEL: Final = "claims that were lost, for each task, by agents"


class Meeting(NamedTuple):
    """A server, as this measurement sees it."""

    name: str
    url: str
    add_tasks: Callable[[int], None]
    done: Callable[[], int]
    polls: Callable[[], int]  # that were sent, or wait
    claims: Callable[[], int]  # that were sent; one that is sent again is the same


def over_agents(folder: Path, points: Sequence[int], extent: Extent) -> list[Figure]:
    """Let so many agents race for tasks."""
    figures = []
    for count in points:
        for serving in (our_server, listing_server):
            if serving is listing_server and count > LISTING_MOST:
                continue
            place = folder / f"{serving.__name__}-{count}"
            place.mkdir()
            with serving(place) as meeting:
                figures.append(race(meeting, place, count))
    return figures


def race(meeting: Meeting, folder: Path, count: int) -> Figure:
    """Return how many claims a task took in vain."""
    tasks = max(LEAST, TASKS * count)
    with ExitStack() as stack:
        agents = [
            stack.enter_context(running_agent(meeting.url, folder / f"agent-{at}", 1)) for at in range(count)
        ]
        until(lambda: meeting.polls() >= count, agents, lambda: None)
        before = meeting.claims()
        meeting.add_tasks(tasks)
        until(lambda: meeting.done() >= tasks, agents, meeting.done)
        wasted = meeting.claims() - before - tasks
        for agent in agents:
            agent.process.terminate()  # all at once: each takes a moment to end
    return Figure(
        name=f"{count} agents, {meeting.name}, wasted claims",
        value=wasted / tasks,
        unit="a task",
        note=f"{wasted} of {tasks} tasks; agents are processes",
        place=Place(PANEL, meeting.name, count),
    )


def until(holds: Callable[[], bool], agents: Sequence[Agent], moved: Callable[[], object]) -> None:
    """Wait until something holds; fail when nothing moves for long."""
    since, seen = time.monotonic(), moved()
    while not holds():
        if (now := moved()) != seen:
            since, seen = time.monotonic(), now
        if time.monotonic() - since > max(UP_S, STALLED_S):
            raise BenchError(f"{len(agents)} agents stand still at {seen}")
        for agent in agents:
            agent.check()
        time.sleep(LOOK_EVERY_S)


@contextmanager
def our_server(folder: Path) -> Iterator[Meeting]:
    """Serve with ours, which hands a task to one waiting poll."""
    with running_server(folder) as (server, caller):
        job = caller.create_job(TYPE)

        def add(tasks: int) -> None:
            for _ in range(tasks):
                caller.create_task(job, TYPE)

        yield Meeting(
            name="our server",
            url=server.url,
            add_tasks=add,
            done=lambda: int(caller.job(job)["taskStatusStopped"]),
            polls=lambda: waiting_polls(server.page),
            claims=lambda: done(server, "create_run"),
        )


@contextmanager
def listing_server(folder: Path) -> Iterator[Meeting]:
    """Serve with the documented API alone: every agent that asks sees the same list."""
    with foreign_server(token=TOKEN) as server:
        job = server.add_job(type=TYPE)

        def add(tasks: int) -> None:
            for _ in range(tasks):
                server.add_task(TYPE, job)

        def sent(method: str, path: str) -> int:
            return sum(one.method == method and one.path == path for one in server.requests)

        yield Meeting(
            name="a server that only lists",
            url=server.url,
            add_tasks=add,
            done=lambda: int(server.jobs[job]["taskStatusStopped"]),
            polls=lambda: sent("GET", "/api/jobs/tasks"),
            claims=lambda: len(claims_of(server.requests)),
        )


def claims_of(requests: Sequence[Request]) -> set[tuple[str, str]]:
    """Return who claimed what.

    What sort of server it is shows an agent only a claim that it sends twice: the second time as a probe,
    which it means to lose.
    """
    claims = (one.body for one in requests if one.method == "POST" and one.path == "/api/jobs/runs")
    return {(body["podId"].removesuffix(PROBE), body["taskId"]) for body in claims}


def waiting_polls(page: str) -> int:
    """Return how many agents wait at our server."""
    text = httpx.get(f"{page}/metrics", trust_env=False, timeout=30.0).raise_for_status().text
    found = WAITING.search(text)
    assert found is not None
    return round(float(found[1]))
