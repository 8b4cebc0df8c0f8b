"""Agents and servers restart in turn under load, in order and by SIGKILL: nothing is lost, nothing doubled.

Two servers on one PostgreSQL behind a balancer, three agents of two slots. What was executed when is told
by the handlers themselves, whatever the server's rows say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.acceptance.agents import START_S, STOP_S, start_agent
from tests.acceptance.relay import Relay, pump
from tests.postgres.databases import database
from tests.postgres.replicas import TOKEN, Replica

LIMIT_S = 180.0  # a bound for a hang, not a measure: it takes a fifth of it
MILLHAND = (sys.executable, "-P", "-m", "worker.cli.main")
LOAD = 16  # tasks that are added before each restart: more than there are slots, so that all have work
HANDLER = '''
"""A handler that writes down that it lives, line by line, and does not stop before its end."""
import os, time
from worker import Context, handler

@handler("roll")
def roll(ctx: Context, *, number: int) -> dict:
    """Take about half a second; each line is one write(2), so that lines never mix."""
    target = os.open(os.environ["TMPDIR"] + "/executions.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for step in ("begin", *["lives"] * 20, "end"):
        os.write(target, f"{time.monotonic_ns()} {step} {ctx.task_id} {ctx.run_id}\\n".encode())
        time.sleep(0.025)
    os.close(target)
    return {"square": number * number}
'''


class Balancer(Relay):
    """Pass each connection on to the first server that takes it, each time another one first."""

    def __init__(self, urls: list[str]) -> None:
        """Stand before servers."""
        super().__init__(urls[0])
        self._targets = [(part.hostname or "", part.port or 0) for part in map(urlsplit, urls)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._targets = [*self._targets[1:], self._targets[0]]
        for target in self._targets:
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(*target)
                self._writers |= {writer, far_writer}
                with contextlib.suppress(OSError):
                    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
                self._writers -= {writer, far_writer}
                break
        writer.transport.abort()


@contextmanager
def balancer(urls: list[str]) -> Iterator[str]:
    """Give its address until the end of the block."""
    one = Balancer(urls)
    one.start()
    try:
        yield one.url
    finally:
        one.stop()


class Host:
    """A machine with one agent, which is started again and again on its state directory."""

    def __init__(self, folder: Path, url: str) -> None:
        """Start it."""
        self._folder, self._url = folder, url
        self.start()

    def start(self) -> None:
        """Start the agent, and wait until it answers."""
        settings = {
            "MILLHAND_HANDLERS": str(self._folder.parent / "own.py"), "MILLHAND_REPORT_INTERVAL": "0.2",
            "MILLHAND_POLL_MAX": "1", "MILLHAND_LONG_POLL": "5", "MILLHAND_TYPES": "roll",
        }  # fmt: skip
        self.agent = start_agent(self._folder, self._url, TOKEN, slots=2, settings=settings)
        end_mono = time.monotonic() + START_S
        while self._said("status").returncode != 0:
            assert self.agent.poll() is None, self.log()
            assert time.monotonic() < end_mono, self.log()

    def _said(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MILLHAND, *command, "--state-dir", str(self._folder / "state")],
            capture_output=True, text=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def log(self) -> str:
        """Return the end of the agent's log."""
        return (self._folder / "agent.log").read_text()[-4000:]

    def drain(self) -> None:
        """End it in order, as an operator does."""
        ran = self._said("drain", "--wait")
        assert (ran.returncode, self.agent.wait(STOP_S)) == (0, 0), ran.stderr + self.log()

    def kill(self) -> None:
        """End the agent at once, and it alone: its minder sees to what ran."""
        self.agent.kill()
        self.agent.wait(STOP_S)

    def left(self) -> list[Any]:
        """Return what its journal holds."""
        return list(json.loads(self._said("journal", "--json").stdout)["entries"])

    def close(self) -> None:
        """Leave no process behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.agent.pid, signal.SIGKILL)
        self.agent.wait(STOP_S)


class Work:
    """The one job, and its tasks by their numbers."""

    def __init__(self, url: str) -> None:
        """Make it."""
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=10.0
        )
        self.job = str(
            self._ask("POST", "/api/jobs", {"id": "roll-job", "title": "roll", "type": "roll"})["id"]
        )
        self.numbers: dict[str, int] = {}

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask until somebody answers; what is made has an id of ours, so that to repeat it makes one."""
        end_mono = time.monotonic() + LIMIT_S
        while True:
            try:
                answer = self._client.request(method, path, json=body)
                if answer.status_code == 409 and body is not None:
                    return body
                if answer.status_code < 500:
                    said = answer.raise_for_status().json()
                    return said[0] if isinstance(said, list) else said
            except httpx.TransportError:
                pass
            assert time.monotonic() < end_mono
            time.sleep(0.05)

    def add(self, count: int) -> None:
        """Make more tasks."""
        for number in range(len(self.numbers), len(self.numbers) + count):
            task = {
                "id": f"roll-{number}",
                "jobId": self.job,
                "type": "roll",
                "parameters": {"number": number},
            }
            self.numbers[str(self._ask("POST", "/api/jobs/tasks", task)["id"])] = number

    def wait(self) -> None:
        """Wait until every task has stopped."""
        end_mono = time.monotonic() + LIMIT_S
        while (job := self._ask("GET", f"/api/jobs/{self.job}"))["taskStatusStopped"] != len(self.numbers):
            assert time.monotonic() < end_mono, job
            time.sleep(0.1)

    def runs(self) -> list[dict[str, Any]]:
        """Return every run."""
        found: list[dict[str, Any]] = []
        while page := self._ask(
            "GET", f"/api/jobs/runs?jobId={self.job}&perPage=100&page={len(found) // 100 + 1}"
        )["runs"]:
            found += page
            if len(page) < 100:
                break
        return found


def overlapping(log: Path) -> list[str]:
    """Return the tasks of which two runs gave signs of life at one time."""
    spans: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for line in log.read_text().splitlines():
        at_ns, _, task, run = line.split()
        spans[task][run].append(int(at_ns))
    found = []
    for task, runs in spans.items():
        ordered = sorted((min(times), max(times)) for times in runs.values())
        if any(second[0] <= first[1] for first, second in pairwise(ordered)):
            found.append(task)
    return found


def test_restarts_in_turn_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Each task has one success with its own result; runs that were cut off say so, and were run again."""
    (tmp_path / "own.py").write_text(HANDLER)
    with ExitStack() as stack:
        db = stack.enter_context(database())
        replicas = [Replica(db, tmp_path, number) for number in range(2)]
        for replica in replicas:
            stack.callback(replica.stop)
        url = stack.enter_context(balancer([replica.url for replica in replicas]))
        work = stack.enter_context(contextlib.closing(Work(url)))
        hosts = [Host(tmp_path / f"host-{number}", url) for number in range(3)]
        for host in hosts:
            stack.callback(host.close)

        def roll(down: Callable[[], object], up: Callable[[], object]) -> None:
            work.add(LOAD)
            down()
            up()

        for host in hosts:
            roll(host.drain, host.start)
        for replica in replicas:
            roll(replica.stop, replica.start_again)
        for host in hosts:
            roll(host.kill, host.start)
        for replica in replicas:
            roll(replica.kill, replica.start_again)
        work.wait()
        runs = work.runs()
        for host in hosts:
            host.drain()
            assert host.left() == []

    successes = Counter(run["taskId"] for run in runs if run["resultCode"] == "Success")
    assert successes == dict.fromkeys(work.numbers, 1)
    for run in runs:
        if run["resultCode"] == "Success":
            assert run["results"]["square"] == work.numbers[run["taskId"]] ** 2
    ends = Counter(run["error"].partition(":")[0] for run in runs if run["resultCode"] != "Success")
    assert ends.keys() == {"worker_lost", "requeued"}, (
        ends
    )  # of killed agents; a drain lets half a second finish
    assert all(run["stoppedAt"] for run in runs)
    assert overlapping(tmp_path / "executions.log") == []


def test_two_runs_of_a_task_that_live_at_one_time_are_seen(tmp_path: Path) -> None:
    """Else the test above would show nothing: one that begins before the other's last sign is too early."""
    log = tmp_path / "executions.log"
    log.write_text("1 begin t a\n5 lives t a\n6 begin t b\n9 end t b\n2 begin u a\n8 end u a\n")
    assert overlapping(log) == []
    log.write_text("1 begin t a\n7 lives t a\n6 begin t b\n9 end t b\n")
    assert overlapping(log) == ["t"]
