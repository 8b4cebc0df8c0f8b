"""What a task costs in counts: requests, calls of functions, system calls, syncs, writes, rounds of the loop.

They hold on a busy machine too, unlike times, as long as runs stay short; `tests.bench.guard` compares them
with committed ones.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from tests.bench.figure import Figure
from tests.bench.guard import A_TASK, CALLS
from tests.bench.throughput import create_tasks, wait_for
from tests.bench.world import Agent, BenchError, Meter, Server, running_agent, running_server

__all__ = ["answered", "measure_counts", "requests_of"]

TYPE: Final = "noop"
WARM_UP: Final = 10  # tasks of each slot
SETTLE_S: Final = 0.5  # after them, until all of them is told
ATTACH_S: Final = 20.0
LOOK_EVERY_S: Final = 0.1
STALLED_S: Final = 60.0
ENDED: Final = '"run.ended"'  # the line of each run in the log of its agent
SYNCS: Final = frozenset({"fsync", "fdatasync"})
WRITES: Final = frozenset({"pwrite64"})  # of a database: a page and its head in the log are two
ROUNDS: Final = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"})
CHANCE: Final = frozenset({"futex", "sched_yield", "restart_syscall"})  # who waits for a lock, and how often
SAMPLE: Final = re.compile(r'^\w+_request_seconds_count\{operation="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE)
PART: Final = "_in_batch"  # the end of operations that went with others in one request
OURS: Final = "get_job"  # the operation by which the benchmark itself looks on


def measure_counts(folder: Path, *, slots: int, tasks: int) -> list[Figure]:
    """Let one agent do tasks that all become pending at once; agent and server count their calls.

    Nothing is under way when the counting begins and when it ends. Both are under strace where there is one.
    """
    folder.mkdir()
    with running_server(folder, meter=Meter()) as (server, caller):
        job = create_tasks(caller, TYPE, tasks, state="paused")
        with running_agent(server.url, folder / "agent", slots, meter=Meter()) as agent:
            warm = WARM_UP * slots
            wait_for(warm, create_tasks(caller, TYPE, warm), caller, server, agent)
            time.sleep(SETTLE_S)
            with counted_calls({"agent": agent.pid, "server": server.pid}) as traced:
                before = counted(server, agent)
                caller.set_state(job, "active")
                wait_ended(warm + tasks, agent)
                totals = {name: count - before[name] for name, count in counted(server, agent).items()}
            if (done := caller.job(job)["taskResultSuccesses"]) != tasks:
                raise agent.error(f"of {tasks} noop tasks {done} succeeded")
    return figures({**totals, **traced}, tasks, slots)


def wait_ended(runs: int, agent: Agent) -> None:
    """Wait until an agent has logged the ends of so many runs: to ask the server would be counted, too."""
    since, seen = time.monotonic(), 0
    while (ended := agent.said(ENDED)) < runs:
        if ended > seen:
            since, seen = time.monotonic(), ended
        if time.monotonic() - since > STALLED_S:
            raise agent.error(f"stuck at {ended} of {runs} runs for {STALLED_S:.0f} s")
        agent.check()
        time.sleep(LOOK_EVERY_S)
    time.sleep(SETTLE_S)


def counted(server: Server, agent: Agent) -> dict[str, int]:
    """Return what is counted without strace, so far."""
    return {
        "requests": requests_of(server),
        f"{CALLS}functions in the agent": agent.calls(),
        f"{CALLS}functions in the server": server.calls(),
    }


def figures(totals: Mapping[str, int], count: int, slots: int) -> list[Figure]:
    """Return totals as figures of one task."""
    note = f"{A_TASK}, {count} noop tasks"
    return [
        Figure(name=f"{name}, {slots} slots", value=total / count, unit="", note=note)
        for name, total in totals.items()
    ]


def requests_of(server: Server) -> int:
    """Return how many requests the server has answered so far, but for ours that only look on."""
    counts = answered(server).items()
    return sum(count for name, count in counts if name != OURS and not name.endswith(PART))


def answered(server: Server) -> dict[str, int]:
    """Return how many requests of each operation the server has answered so far."""
    text = httpx.get(f"{server.page}/metrics", trust_env=False, timeout=30.0).raise_for_status().text
    found: dict[str, int] = {}
    for name, count in SAMPLE.findall(text):
        found[name] = found.get(name, 0) + round(float(count))
    return found


def done(server: Server, operation: str) -> int:
    """Return how often an operation was asked for so far, alone or with others in one request."""
    found = answered(server)
    return found.get(operation, 0) + found.get(operation + PART, 0)


@contextmanager
def counted_calls(pids: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Count the system calls of processes while the block runs; the dictionary is filled at its end."""
    found: dict[str, int] = {}
    strace = shutil.which("strace")
    if strace is None:
        print("bench: without strace no system calls are counted", file=sys.stderr)
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="bench-strace-") as folder:
        tracers = {name: Tracer(strace, pid, Path(folder) / name) for name, pid in pids.items()}
        try:
            yield found
        finally:
            for tracer in tracers.values():
                tracer.stop()
        for name, tracer in tracers.items():
            calls = tracer.calls()
            for what, which in (("syncs", SYNCS), ("disk writes", WRITES), ("rounds of the loop", ROUNDS)):
                found[f"{what} of the {name}"] = sum(calls.get(one, 0) for one in which)
            found[f"system calls of the {name}"] = sum(n for one, n in calls.items() if one not in CHANCE)


class Tracer:
    """strace, attached to one process with all its threads."""

    def __init__(self, strace: str, pid: int, output: Path) -> None:
        """Attach it now.

        Raises: BenchError where this machine does not allow it.
        """
        self._output = output
        command = [strace, "-f", "-c", "-U", "name,calls", "-o", str(output), "-p", str(pid)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        if "attached" not in line:
            self.stop()
            raise BenchError(f"strace cannot attach: {line.strip()}")

    def stop(self) -> None:
        """Let the process go on alone."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate(timeout=ATTACH_S)

    def calls(self) -> dict[str, int]:
        """Return how often each system call was made."""
        words = (line.split() for line in self._output.read_text().splitlines())
        counts = {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}
        counts.pop("total", None)
        return counts
