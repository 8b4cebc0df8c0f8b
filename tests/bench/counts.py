"""What a task costs in counts: requests, syncs, system calls. They hold on a busy machine too, unlike times.

`guard` compares them with those that are committed in guard.json.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import msgspec

from tests.bench.caller import Caller
from tests.bench.figure import Figure
from tests.bench.throughput import wait_for
from tests.bench.world import BenchError, Server, running_agent

__all__ = ["GUARD", "keep", "measure_counts", "requests_of", "worse"]

GUARD: Final = Path(__file__).with_name("guard.json")
WORSE: Final = 1.10  # more than a tenth above what is committed
LEAST: Final = 0.05  # a task; what is smaller is chance
ATTACH_S: Final = 20.0
LOOK_EVERY_S: Final = 1.0  # the server's calls for our looks are counted too
SYNCS: Final = frozenset({"fsync", "fdatasync"})
CHANCE: Final = frozenset({"futex", "sched_yield", "restart_syscall"})  # who waits for a lock, and how often
SAMPLE: Final = re.compile(r'^\w+_request_seconds_count\{operation="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE)
OURS: Final = "get_job"  # the operation by which the benchmark itself looks on


def measure_counts(server: Server, caller: Caller, folder: Path, *, slots: int, tasks: int) -> list[Figure]:
    """Let one agent work off tasks that wait already, agent and server under strace where there is one."""
    job = caller.create_job("noop")
    for _ in range(tasks):
        caller.create_task(job, "noop")
    with running_agent(server.url, folder / f"counted-{slots}-slots", slots) as agent:
        first = wait_for(tasks // 10, job, caller, server, agent)
        before = requests_of(server)
        with counted_calls({"agent": agent.pid, "server": server.pid}) as calls:
            begun = wait_for(first.stopped + 1, job, caller, server, agent)
            begun_requests = requests_of(server)
            last = wait_for(tasks, job, caller, server, agent, look_every_s=LOOK_EVERY_S)
            requests = requests_of(server) - begun_requests
        assert before <= begun_requests
    count = last.stopped - begun.stopped
    return figures({"requests": requests, **calls}, count, slots)


def figures(totals: Mapping[str, int], count: int, slots: int) -> list[Figure]:
    """Return totals as figures of one task."""
    note = f"a task, {count} noop tasks"
    return [
        Figure(name=f"{name}, {slots} slots", value=total / count, unit="", note=note)
        for name, total in totals.items()
    ]


def requests_of(server: Server) -> int:
    """Return how many requests the server has answered so far, but for ours that only look on."""
    text = httpx.get(f"{server.page}/metrics", trust_env=False, timeout=30.0).raise_for_status().text
    return round(sum(float(count) for name, count in SAMPLE.findall(text) if name != OURS))


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
            found[f"syncs of the {name}"] = sum(calls.get(one, 0) for one in SYNCS)
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


def worse(measured: list[Figure], path: Path = GUARD) -> list[str]:
    """Return what is more than a tenth above the committed figures, a line each."""
    committed = msgspec.json.decode(path.read_bytes(), type=dict[str, float]) if path.exists() else {}
    return [
        f"{figure.name}: {figure.value:.2f} {figure.note}, committed are {committed[figure.name]:.2f}"
        for figure in measured
        if figure.value is not None
        and figure.name in committed
        and figure.value > committed[figure.name] * WORSE + LEAST
    ]


def keep(measured: list[Figure], path: Path = GUARD) -> None:
    """Write the figures down as those that later ones are compared with."""
    told = {figure.name: round(figure.value, 2) for figure in measured if figure.value is not None}
    text = msgspec.json.format(msgspec.json.encode(told), indent=2).decode()
    temporary = path.with_suffix(".new")
    temporary.write_text(text + os.linesep)
    temporary.replace(path)
