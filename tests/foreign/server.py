"""The foreign server on a loopback socket, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

from tests.accepting import stop_accepting
from tests.foreign.api import Api, Refusal
from tests.foreign.http import Answer, Request, serve_connection
from tests.foreign.switches import Switches

__all__ = ["ForeignServer", "Rule", "foreign_server"]

START_S = 10.0
HELD_LOOK_S = 0.02
NUMBERS = frozenset(
    [
        "taskCount",
        "taskStatusPending",
        "taskStatusRunning",
        "taskStatusStopped",
        "taskProgress",
        "taskResultFailures",
        "taskResultSuccesses",
        "priority",
        "runProgress",
        "progress",
        "GPUTime",
        "CPUTime",
        "RAMUsage",
        "wallClockTime",
        "requestCPUs",
        "limitCPUs",
        "nodeCPUs",
        "requestRAM",
        "limitRAM",
        "nodeRAM",
    ]
)


@dataclass
class Rule:
    """What happens to some requests: those that match, after `skip`, `count` of them."""

    method: str | None
    path: str  # regular expression, searched in the path
    skip: int
    count: int
    answer: Answer | None = None  # instead of handling it
    loses_answer: bool = False  # handled, but nobody is told
    delay_s: float = 0.0  # before it is handled
    is_held: bool = False  # not handled while this is so
    hits: int = 0
    hit: threading.Event = field(default_factory=threading.Event)  # set when it first applied

    def applies(self, request: Request) -> bool:
        """Tell whether the request is one of those, and count it."""
        if self.count <= 0 or self.method not in (None, request.method):
            return False
        if not re.search(self.path, request.path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.count -= 1
        self.hits += 1
        self.hit.set()
        return True


class ForeignServer:
    """A running foreign server, as tests see it. Every method may be called from any thread."""

    def __init__(self, switches: Switches, port: int) -> None:
        """Stand for the server that listens on this port."""
        self.switches = switches
        self.url = f"http://127.0.0.1:{port}"
        self.token = switches.token
        self.org_id = switches.org_id
        self._api = Api(switches)
        self._changed = threading.Condition(threading.RLock())
        self._requests: list[Request] = []
        self._rules: list[Rule] = []

    # What is there

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in order of arrival, those that failed too."""
        with self._changed:
            return list(self._requests)

    @property
    def runs(self) -> dict[str, dict[str, Any]]:
        """All runs by id, as they are now: no lag, no wrapping."""
        with self._changed:
            return {run["id"]: run for run in self._api.runs.all()}

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """All tasks by id, with their status, as they are now."""
        with self._changed:
            return {task["id"]: self._api._show_task(task, float("inf")) for task in self._api.tasks.all()}

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """All jobs by id, with their counters, as they are now."""
        with self._changed:
            return {job["id"]: self._api._show_job(job) for job in self._api.jobs.all()}

    def runs_of(self, task_id: str) -> list[dict[str, Any]]:
        """Return the runs of a task, oldest first."""
        runs = [run for run in self.runs.values() if run["taskId"] == task_id]
        return sorted(runs, key=lambda run: (run["createdAt"], run["id"]))

    def wait_until(self, holds: Callable[[], object], limit_s: float = 10.0) -> None:
        """Return once a condition holds; asked after every request. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(holds()), limit_s):
                raise TimeoutError(f"the foreign server did not get there within {limit_s} s")

    # What a person does

    def add_job(self, **fields: Any) -> str:
        """Add a job; returns its id."""
        with self._changed:
            return str(self._api.add_job({"title": "job", "type": "noop", **fields})["id"])

    def add_task(self, type: str = "noop", job_id: str | None = None, **fields: Any) -> str:  # noqa: A002
        """Add a task, with a job of its own unless one is named; returns its id."""
        with self._changed:
            job_id = job_id or self.add_job(type=type)
            return str(self._api.add_task({"title": "task", "type": type, "jobId": job_id, **fields})["id"])

    def set_scheduler_state(self, job_id: str, state: str) -> None:
        """Set what the user wants of a job; the documented API has no way to."""
        with self._changed:
            job = self._api.jobs.get(job_id)
            assert job is not None
            self._api.jobs.put(time.monotonic(), job | {"schedulerState": state})

    def age_run(self, run_id: str, age_s: float, *, says_updated: bool = True) -> None:
        """Let a run have been created and last reported on so long ago, for those who read it."""
        with self._changed:
            run = self._api.runs.get(run_id)
            assert run is not None
            at = datetime.now(UTC) + timedelta(seconds=self.switches.clock_off_s - age_s)
            text = at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            told = {"createdAt": text, "updatedAt": text if says_updated else None}
            self._api.runs.put(time.monotonic(), run | told)

    # What goes wrong

    def lose_answer(self, nth: int = 1, method: str | None = None, path: str = "", count: int = 1) -> Rule:
        """Handle the nth request that matches from now on, but end its connection without an answer."""
        return self._add(Rule(method, path, nth - 1, count, loses_answer=True))

    def drop_request(self, nth: int = 1, method: str | None = None, path: str = "", count: int = 1) -> Rule:
        """End the connection of the nth request that matches without handling it."""
        return self._add(Rule(method, path, nth - 1, count, answer=Answer(is_lost=True)))

    def fail_next(
        self,
        status: int,
        *,
        count: int = 1,
        method: str | None = None,
        path: str = "",
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Rule:
        """Answer the next requests that match with a status, unhandled, as a proxy would."""
        return self._add(Rule(method, path, 0, count, Answer(status, body, headers or {})))

    def delay_next(self, delay_s: float, count: int = 1, method: str | None = None, path: str = "") -> Rule:
        """Hold the next requests that match before they are handled."""
        return self._add(Rule(method, path, 0, count, delay_s=delay_s))

    def hold(self, method: str | None = None, path: str = "") -> Rule:
        """Let all requests that match wait until the rule is released."""
        return self._add(Rule(method, path, 0, 1_000_000, is_held=True))

    def release(self, rule: Rule) -> None:
        """Handle what a rule holds, and hold nothing more."""
        with self._changed:
            self._rules.remove(rule)
            rule.is_held = False

    def _add(self, rule: Rule) -> Rule:
        with self._changed:
            self._rules.append(rule)
        return rule

    # Serving

    async def handle(self, request: Request) -> Answer:
        """Answer one request."""
        with self._changed:
            self._requests.append(request)
            rule = next((rule for rule in self._rules if rule.applies(request)), None)
            self._changed.notify_all()
        if rule is not None and rule.delay_s:
            await asyncio.sleep(rule.delay_s)
        while rule is not None and rule.is_held:  # noqa: ASYNC110 - released from another thread
            await asyncio.sleep(HELD_LOOK_S)
        if rule is not None and rule.answer is not None:
            return rule.answer
        with self._changed:
            answer = self._answer(request)
            self._changed.notify_all()
        return Answer(is_lost=True) if rule is not None and rule.loses_answer else self._dated(answer)

    def _dated(self, answer: Answer) -> Answer:
        if not self.switches.dated:
            return answer
        date = formatdate(time.time() + self.switches.clock_off_s, usegmt=True)
        return replace(answer, headers={"date": date} | answer.headers)

    def _answer(self, request: Request) -> Answer:
        try:
            self._authorise(request)
            body = self._api.answer(request.method, request.path, request.query, request.body)
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body)
        return Answer(200, texts(body) if self.switches.numbers_as_strings else body)

    def _authorise(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = request.query.get("bearer_token", "")
        if not token:
            raise Refusal(403, "forbidden", "forbidden")
        if token.strip() != self.token:
            raise Refusal(401, "users_service_unavailable", "Error reaching users service")


def texts(body: Any) -> Any:
    """Return an answer with the numbers of its documented fields as strings."""
    if isinstance(body, list):
        return [texts(item) for item in body]
    if not isinstance(body, dict):
        return body
    return {
        name: str(value) if name in NUMBERS and isinstance(value, int | float) else texts(value)
        for name, value in body.items()
    }


@contextlib.contextmanager
def foreign_server(**switches: Any) -> Iterator[ForeignServer]:
    """Serve on a free loopback port until the block ends; arguments are those of `Switches`."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        server = ForeignServer(Switches(**switches), listener.getsockname()[1])
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(serve(server, listener, stop)), name="foreign-server"
        )
        thread.start()
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(START_S)
            loop.close()


async def serve(server: ForeignServer, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve until told to stop; then end every connection."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await serve_connection(reader, writer, server.handle)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            connections.discard(task)

    listening = await asyncio.start_server(connected, sock=listener)
    await stop.wait()
    await stop_accepting(listening)
    for task in list(connections):
        task.cancel()
    await asyncio.gather(*connections, return_exceptions=True)
