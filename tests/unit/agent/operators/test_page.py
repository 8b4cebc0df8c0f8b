"""The agent's page by HTTP: its answers, its bounds, and that it leaves nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from socket import create_connection, create_server, socket

import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from tests.simulation.machine import Machine
from tests.simulation.world import World
from worker.agent.operators import page
from worker.agent.operators.listening import listen_for_operators
from worker.agent.operators.metrics import Metrics
from worker.agent.operators.survey import Survey
from worker.api.wire import ErrorKind
from worker.config import AgentConfig

LIMIT_S = 60.0  # a bound for a hang, not a measure


class Answer(Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str


class Visitor:
    """Somebody who asks."""

    def __init__(self, survey: Survey, port: int) -> None:
        """Ask at a port."""
        self.survey, self.port = survey, port

    async def send(self, sent: bytes) -> bytes:
        """Return all that comes back until the page closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(sent)
            await writer.drain()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def ask(self, what: str, *more: str) -> Answer:
        """Return the answer to a request."""
        came = await self.send("\r\n".join([f"{what} HTTP/1.1", "Host: here", *more, "", ""]).encode())
        head, _, body = came.decode().partition("\r\n\r\n")
        first, *headers = head.split("\r\n")
        return Answer(
            int(first.split()[1]), {n.lower(): v for n, _, v in (h.partition(": ") for h in headers)}, body
        )


def visit(scene: Callable[[Visitor], Awaitable[None]], metrics: Callable[[], bytes] | None = None) -> None:
    """Have the page of an agent that does nothing yet; then nothing of it may be left."""

    async def main() -> None:
        survey = (await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()).survey
        listening = create_server(("127.0.0.1", 0))
        visitor = Visitor(survey, listening.getsockname()[1])
        async with asyncio.timeout(LIMIT_S):
            async with page.serving(survey, metrics or Metrics(survey).text, listening):
                await scene(visitor)
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", visitor.port)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_the_status_is_a_document_of_json() -> None:
    """One that a person can read as well; nobody keeps it, and the connection is over."""

    async def scene(on: Visitor) -> None:
        answer = await on.ask("GET /status")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert (answer.headers["cache-control"], answer.headers["connection"]) == ("no-store", "close")
        status = json.loads(answer.body)
        assert (status["podId"], status["slots"]["free"], status["gpus"]) == ("node/agent-1", 3, [])
        assert status["isClaiming"] is False
        assert status["holds"][0]["by"] == "recovery"
        assert answer.body.count("\n") > 20

    visit(scene)


def test_it_is_alive_from_the_start_and_ready_from_the_first_answer_to_the_drain() -> None:
    """Liveness says nothing of the server, readiness why not."""

    async def scene(on: Visitor) -> None:
        assert (await on.ask("GET /healthz")).status == 200
        answer = await on.ask("GET /readyz")
        assert (answer.status, answer.body) == (503, "the server has not answered yet\n")
        on.survey.activity.polled(True)
        on.survey.activity.polled(False)
        assert (await on.ask("GET /readyz")).status == 200
        on.survey.drain.request(ErrorKind.DRAINED, "SIGTERM received")
        answer = await on.ask("GET /readyz")
        assert (answer.status, answer.body) == (503, "draining\n")
        assert (await on.ask("GET /healthz")).status == 200

    visit(scene)


def test_an_agent_with_a_loop_that_is_stuck_is_not_alive() -> None:
    """It says which; the page itself answers, since the event loop goes on."""

    async def scene(on: Visitor) -> None:
        on.survey.turns.note("tasks", -1e6)
        answer = await on.ask("GET /healthz")
        assert (answer.status, answer.body) == (503, "stuck: tasks\n")
        on.survey.turns.note("tasks", 0.0)
        assert (await on.ask("GET /healthz")).status == 200

    visit(scene)


def test_the_metrics_are_in_the_text_format() -> None:
    """With the type that Prometheus knows it by."""

    async def scene(on: Visitor) -> None:
        answer = await on.ask("GET /metrics")
        assert answer.status == 200
        assert answer.headers["content-type"] == page.METRICS_TYPE
        assert "\nmillhand_slots 3.0\n" in answer.body
        assert (await on.ask("HEAD /metrics")).status == 200

    visit(scene)


@pytest.mark.parametrize(
    ("what", "more", "status"),
    [
        ("GET /", (), 404),
        ("GET /status/x", (), 404),
        ("POST /status", ("Content-Length: 0",), 405),
        ("DELETE /healthz", (), 405),
        ("GET /" + "x" * 2 * page.LINE_BYTES, (), 400),
        ("GET /status", ("X: " + "x" * 2 * page.LINE_BYTES,), 400),
        ("GET /status", ("Content-Length: x",), 400),
        ("NONSENSE", (), 400),
    ],
)
def test_what_is_no_question_is_refused(
    caplog: pytest.LogCaptureFixture, what: str, more: tuple[str, ...], status: int
) -> None:
    """And the page goes on; who sends nonsense fills no log."""

    async def scene(on: Visitor) -> None:
        assert (await on.ask(what, *more)).status == status
        assert caplog.records == []
        assert (await on.ask("GET /healthz")).status == 200

    visit(scene)


def test_a_fault_of_ours_is_an_answer_and_the_page_goes_on() -> None:
    """The agent's work never sees it."""

    def broken() -> bytes:
        raise RuntimeError("no metrics today")

    async def scene(on: Visitor) -> None:
        with capture_logs() as logs:
            answer = await on.ask("GET /metrics")
        assert (answer.status, "no metrics today" in answer.body) == (500, False)
        assert [(line["event"], line["path"]) for line in logs] == [("page.failed", "/metrics")]
        assert (await on.ask("GET /status")).status == 200

    visit(scene, broken)


@pytest.mark.parametrize(
    "sent", [b"", b"GET /status HT", b"POST /status HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
)
def test_who_is_slow_is_cut_off(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Whoever connects and says nothing, or not all, has no connection for long."""
    monkeypatch.setattr(page, "CONNECTION_S", 0.05)

    async def scene(on: Visitor) -> None:
        assert b"200 OK" not in await on.send(sent)

    visit(scene)


def test_there_are_few_connections_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is closed at once; when others have gone, there is room again."""
    monkeypatch.setattr(page, "CONNECTIONS_MAX", 2)

    async def scene(on: Visitor) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", on.port) for _ in range(2)]
        assert await on.send(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n") == b""
        for _, writer in idle:
            writer.close()
        while b"200 OK" not in await on.send(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"):  # noqa: ASYNC110
            await asyncio.sleep(0)  # another end of the same loop closes them

    visit(scene)


def test_the_end_waits_for_no_connection() -> None:
    """Neither for one that says nothing, nor for one that takes nothing."""
    with ExitStack() as stack:

        async def scene(on: Visitor) -> None:
            for sent in (b"", b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"):
                stack.enter_context(create_connection(("127.0.0.1", on.port))).sendall(sent)
            assert (await on.ask("GET /healthz")).status == 200

        visit(scene, lambda: b"x" * 50_000_000)


@pytest.fixture
def taken() -> Iterator[socket]:
    """Give a port that somebody has."""
    with create_server(("127.0.0.1", 0)) as one:
        yield one


def test_a_port_that_is_taken_is_an_error_that_names_the_setting(taken: socket) -> None:
    """At the start, before anything else began."""
    port = taken.getsockname()[1]
    config = AgentConfig(state_dir=Path("/nowhere"), http_port=port)
    with pytest.raises(
        ValueError, match=f"127.0.0.1 port {port}: Address already in use; .*MILLHAND_HTTP_PORT"
    ):
        listen_for_operators(config, AsyncExitStack())


def test_an_address_that_is_not_of_this_machine_is_such_an_error_as_well() -> None:
    """192.0.2.0/24 is nobody's (RFC 5737)."""
    config = AgentConfig(state_dir=Path("/nowhere"), http_port=9, http_host="192.0.2.1")
    with pytest.raises(ValueError, match=r"http_port: cannot listen on 192\.0\.2\.1 port 9: .*--http-host"):
        listen_for_operators(config, AsyncExitStack())


def test_without_a_port_there_is_no_page() -> None:
    """As by default."""
    assert listen_for_operators(AgentConfig(state_dir=Path("/nowhere")), AsyncExitStack()) is None
