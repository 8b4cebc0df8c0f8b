"""The proxy does to a request what it is told, and says what it really did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.chaos.cells import Fault
from tests.chaos.http1 import Kind, Message, answers_in, kind_of, read_message
from tests.chaos.proxy import Exchange, Proxy
from tests.chaos.waits import until

LIMIT_S = 20.0  # a bound for a hang, not a measure
PUT = "/api/jobs/runs/r1"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Spy:
    """Sets faults by path, and writes down what comes."""

    def __init__(self) -> None:
        self.life = 1
        self.seen: list[str] = []
        self.faults: dict[str, tuple[Fault, Fault]] = {}
        self.overs: list[Exchange] = []
        self.on_sent: Callable[[], None] = lambda: None

    def life_of(self, agent: str) -> int:
        """Return whether it lives."""
        return self.life

    async def sent(self, exchange: Exchange) -> None:
        """Set the fault."""
        self.seen.append("sent")
        exchange.delay_s = 0.05
        exchange.fault, exchange.on_answer = self.faults.pop(exchange.run_id, (Fault.NONE, Fault.NONE))
        self.on_sent()

    async def taken(self, exchange: Exchange, answer: Message) -> None:
        """Write it down."""
        self.seen.append("taken")

    async def answered(self, exchange: Exchange) -> None:
        """Write it down."""
        self.seen.append("answered")

    def over(self, exchange: Exchange) -> None:
        """Keep it."""
        self.overs.append(exchange)


@asynccontextmanager
async def proxied(spy: Spy) -> AsyncIterator[tuple[Proxy, httpx.AsyncClient, list[str]]]:
    """Give a proxy before a server that answers everything and writes down what it got."""
    got: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (request := await read_message(reader)) is not None:
            got.append(request.start.split(" ")[1])
            writer.write(OK)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = Proxy("a", server.sockets[0].getsockname()[1], spy)
    await proxy.open()
    async with asyncio.timeout(LIMIT_S), httpx.AsyncClient(base_url=proxy.url, timeout=LIMIT_S) as client:
        yield proxy, client, got
    await proxy.aclose()
    server.close()


async def put(client: httpx.AsyncClient, path: str = PUT) -> int | None:
    """Report once; None where no answer comes."""
    try:
        return (await client.put(path, json={"progress": 0.5})).status_code
    except httpx.TransportError:
        return None


@pytest.mark.parametrize(
    ("fault", "on_answer", "status", "times"),
    [
        (Fault.NONE, Fault.NONE, 200, 1),
        (Fault.DROP_REQUEST, Fault.NONE, None, 0),
        (Fault.DROP_ANSWER, Fault.NONE, None, 1),
        (Fault.NONE, Fault.DROP_ANSWER, None, 1),
        (Fault.DELAY, Fault.NONE, 200, 1),
        (Fault.DUPLICATE, Fault.NONE, 200, 2),
        (Fault.BAD_GATEWAY, Fault.NONE, 502, 0),
        (Fault.NONE, Fault.BAD_GATEWAY, 502, 1),
        (Fault.CUT, Fault.NONE, None, 0),
        (Fault.NONE, Fault.CUT, None, 1),
    ],
)
def test_each_fault_is_done_and_said(fault: Fault, on_answer: Fault, status: int | None, times: int) -> None:
    """What the server gets and the agent hears is what the fault means."""
    spy = Spy()
    spy.faults["r1"] = (fault, on_answer)

    async def scenario() -> tuple[int | None, list[str]]:
        async with proxied(spy) as (proxy, client, got):
            answered = await put(client)
            await until(lambda: proxy.is_calm, "it is still held")
            return answered, got

    assert asyncio.run(scenario()) == (status, [PUT] * times)
    assert [one.is_harmed for one in spy.overs] == [fault is not Fault.NONE or on_answer is not Fault.NONE]


def test_a_request_is_reordered_only_if_another_one_passes() -> None:
    """It is held until then, and arrives after it."""
    spy = Spy()
    spy.faults["late"] = (Fault.REORDER, Fault.NONE)

    async def scenario() -> list[str]:
        async with proxied(spy) as (_, client, got):
            late = asyncio.create_task(put(client, "/api/jobs/runs/late"))
            await until(lambda: spy.seen, "it was not sent")
            await put(client)
            assert await late == 200
            return got

    assert asyncio.run(scenario()) == [PUT, "/api/jobs/runs/late"]
    assert [one.is_harmed for one in spy.overs] == [False, True]


@pytest.mark.parametrize(
    ("fault", "times"), [(Fault.NONE, 0), (Fault.DROP_ANSWER, 1), (Fault.DELAY, 1), (Fault.DUPLICATE, 2)]
)
def test_what_a_dead_agent_has_sent_arrives_only_where_that_is_the_fault(fault: Fault, times: int) -> None:
    """It died while the proxy held its request."""
    spy = Spy()
    spy.faults["r1"] = (fault, Fault.NONE)

    def die() -> None:
        spy.life = 0

    spy.on_sent = die

    async def scenario() -> list[str]:
        async with proxied(spy) as (proxy, client, got):
            await put(client)
            await until(lambda: proxy.is_calm, "it is still held")
            return got

    assert asyncio.run(scenario()) == [PUT] * times


WRITES = [
    {"method": "POST", "path": "/api/jobs/runs", "body": {"id": "r1", "startedAt": "x", "podId": "a"}},
    {"method": "PUT", "path": "/api/jobs/runs/r2", "body": {"stoppedAt": "x"}},
]


@pytest.mark.parametrize(
    ("fault", "on_answer", "status", "times"),
    [
        (Fault.NONE, Fault.NONE, 200, 1),
        (Fault.DROP_REQUEST, Fault.NONE, None, 0),
        (Fault.DUPLICATE, Fault.NONE, 200, 2),
        (Fault.NONE, Fault.BAD_GATEWAY, 502, 1),
    ],
)
def test_writes_in_one_request_are_seen_and_what_is_done_to_one_is_done_to_all(
    fault: Fault, on_answer: Fault, status: int | None, times: int
) -> None:
    """Each is looked at by itself, as if it had been sent so; they share their way."""
    spy = Spy()
    spy.faults["r2"] = (fault, on_answer)

    async def scenario() -> tuple[int | None, list[str], int, int]:
        async with proxied(spy) as (proxy, client, got):
            try:
                answered = (await client.post("/api/batch", json={"writes": WRITES})).status_code
            except httpx.TransportError:
                answered = None
            await until(lambda: proxy.is_calm, "it is still held")
            return answered, got, proxy.batches, proxy.batches_harmed

    is_harmed = (fault, on_answer) != (Fault.NONE, Fault.NONE)
    assert asyncio.run(scenario()) == (status, ["/api/batch"] * times, status == 200, is_harmed)
    assert [(one.kind, one.run_id) for one in spy.overs] == [(Kind.CLAIM, "r1"), (Kind.END, "r2")]
    assert [one.is_harmed for one in spy.overs] == [is_harmed] * 2


def test_each_write_has_the_answer_of_its_own() -> None:
    """Whether it was refused is no matter of the others; the whole's, where there is none of its own."""
    whole = Message(
        "HTTP/1.1 200 OK", b"", {}, b'{"answers":[{"status":200,"body":{}},{"status":409,"body":{}}]}'
    )
    assert [one.start.split(" ")[1] for one in answers_in(whole, 2)] == ["200", "409"]
    page = Message("HTTP/1.1 502 Bad Gateway", b"", {}, b"<html>")
    assert answers_in(page, 2) == [page, page]


@pytest.mark.parametrize(
    ("method", "path", "body", "kind"),
    [
        ("GET", "/api/jobs/tasks?wait=1", b"", Kind.POLL),
        ("GET", "/api/jobs/runs/r1", b"", Kind.OTHER),
        ("POST", "/api/jobs/runs", b'{"startedAt":"x","podId":"a/b"}', Kind.CLAIM),
        ("POST", "/api/jobs/runs", b'{"startedAt":"x","podId":"a/b/probe"}', Kind.OTHER),
        ("POST", "/api/jobs/runs", b'{"taskId":"t"}', Kind.REQUEUE),
        ("PUT", "/api/jobs/runs/r1", b'{"progress":1}', Kind.PROGRESS),
        ("PUT", "/api/jobs/runs/r1", b'{"stoppedAt":"x","error":"crashed: y"}', Kind.END),
        ("PUT", "/api/jobs/runs/r1", b'{"stoppedAt":"x","error":"requeued: y"}', Kind.OTHER),
        ("PUT", "/api/jobs/runs/r1", b'{"stoppedAt":"x","error":"lost_claim: y"}', Kind.OTHER),
    ],
)
def test_a_request_is_known_by_what_it_says(method: str, path: str, body: bytes, kind: Kind) -> None:
    """Closing what was never executed is no end of a run."""
    assert kind_of(Message(f"{method} {path} HTTP/1.1", b"", {}, body)) is kind
