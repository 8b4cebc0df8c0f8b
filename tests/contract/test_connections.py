"""How connections are kept, used again, bounded and given up, over real sockets."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.accepting import stop_accepting
from tests.contract.connecting import LIMIT_S, OK, body_of, opened, request_to
from tests.contract.misbehaving import (
    Asked,
    MisbehavingServer,
    end_after,
    hang,
    head,
    json_answer,
    misbehaving,
    send,
)
from worker.api import http_transport
from worker.api.faults import Cut, Fault, NotConnected, NotHttp, Unsendable
from worker.api.http_connection import HELD_BYTES
from worker.api.http_transport import HttpTransport


def test_one_connection_serves_requests_one_after_another() -> None:
    """And as many as are under way at once; those are kept too."""

    async def main() -> None:
        async with misbehaving(send(OK)) as server, opened(server) as transport:
            for _ in range(5):
                await body_of(transport, request_to(server))
            assert server.connections == 1
            await asyncio.gather(*(body_of(transport, request_to(server)) for _ in range(3)))
            await asyncio.gather(*(body_of(transport, request_to(server)) for _ in range(3)))
            assert server.connections <= 3

    asyncio.run(main())


def closing_once(content: bytes) -> tuple[list[str], object]:
    """Return an act that answers, and ends the connection at its second request without a word."""
    seen: list[str] = []

    async def act(asked: Asked, writer: asyncio.StreamWriter) -> None:
        seen.append(asked.method)
        if len(seen) == 2:
            raise ConnectionError
        writer.write(content)

    return seen, act


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_a_kept_connection_swallowed_is_sent_once_more(method: str) -> None:
    """A server may close a connection in the moment it is used again; the same twice does no harm."""

    async def main() -> None:
        seen, act = closing_once(OK)
        async with misbehaving(act) as server, opened(server) as transport:  # type: ignore[arg-type]
            await body_of(transport, request_to(server, method))
            assert b"r" in await body_of(transport, request_to(server, method))
            assert seen == [method] * 3

    asyncio.run(main())


def test_a_claim_is_never_sent_twice_by_itself() -> None:
    """A POST that was perhaps seen is for the claim to ask about."""

    async def main() -> None:
        seen, act = closing_once(OK)
        async with misbehaving(act) as server, opened(server) as transport:  # type: ignore[arg-type]
            await body_of(transport, request_to(server, "POST"))
            with pytest.raises(Fault):
                await body_of(transport, request_to(server, "POST"))
            assert seen == ["POST"] * 2

    asyncio.run(main())


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    """As HTTP/1.0 does it; an announced close is obeyed, and what comes before an answer is none."""

    async def main() -> None:
        async with misbehaving(end_after(head() + b"until the end")) as server, opened(server) as transport:
            assert await body_of(transport, request_to(server)) == b"until the end"
            server.act = send(json_answer({"id": "r"}, Connection="close"))
            await body_of(transport, request_to(server))
            server.act = send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)
            answer = await transport.ask(request_to(server), LIMIT_S)
            assert answer.status == 200
            assert "link" not in answer.headers
            assert b"r" in (answer.whole() or b"")
            await answer.aclose()
            assert server.connections == 3

    asyncio.run(main())


def test_an_answer_that_ends_before_the_request_was_sent_is_whole() -> None:
    """A server that ends its side, and reads no more, is not waited for."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head(413) + b"too long")
            writer.write_eof()
            await is_told.wait()
            writer.transport.abort()
            is_over.set()

        is_told, is_over = asyncio.Event(), asyncio.Event()
        async with opened(MisbehavingServer(hang)) as transport:
            listening = await asyncio.start_server(serve, "127.0.0.1", 0)
            server = MisbehavingServer(hang)
            server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            long = b"x" * (32 * 1024 * 1024)  # more than the sockets hold
            try:
                assert await body_of(transport, request_to(server, "PUT", long)) == b"too long"
            finally:
                is_told.set()
                await is_over.wait()
                await stop_accepting(listening)

    asyncio.run(main())


def test_a_request_that_is_cancelled_leaves_no_connection_open() -> None:
    """Whenever it is: in the step in which the connection comes too."""

    async def main() -> None:
        async with misbehaving(send(b"")) as server, opened(server) as transport:
            for steps in range(24):
                asking = asyncio.ensure_future(body_of(transport, request_to(server)))
                for _ in range(steps):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.wait([asking])
            await server.until_left()
            assert len(server.asked) > 0, "none of them came as far as that"

    gc.disable()  # which would close what is lost
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_a_reason_that_is_no_text_is_not_read() -> None:
    """It is for people, says RFC 9112; the status counts."""

    async def main() -> None:
        act = send(b"HTTP/1.1 200 \xfc\r\nContent-Length: 2\r\n\r\n{}")
        async with misbehaving(act) as server, opened(server) as transport:
            assert await body_of(transport, request_to(server)) == b"{}"

    asyncio.run(main())


def test_a_body_that_nobody_takes_waits_in_the_socket() -> None:
    """Memory holds a bounded part of it; and it goes on as soon as somebody reads."""
    whole = 32 * 1024 * 1024  # more than the sockets hold
    sent = asyncio.Event()

    async def pour(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head(length=whole))
        for _ in range(whole // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()
        sent.set()

    async def main() -> None:
        async with misbehaving(pour) as server, opened(server) as transport:
            held = await transport.ask(request_to(server), LIMIT_S)
            assert held.whole() is None
            for _ in range(4000):  # rounds of the loop; far fewer bring the whole where nothing waits
                await asyncio.sleep(0)
                assert held.held_bytes <= HELD_BYTES + 256 * 1024
            assert not sent.is_set()
            assert sum([len(piece) async for piece in held]) == whole
            await held.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("value", ["two\r\nlines", "two\nlines", "a\rb", "a\0b", "büro", "a\udcff"])
def test_no_header_can_begin_another_or_be_read_otherwise(value: str) -> None:
    """Nothing is sent then; what is no ASCII, each server reads in its own way."""

    async def main() -> None:
        async with misbehaving(send(OK)) as server, opened(server) as transport:
            with pytest.raises(Unsendable):
                await body_of(transport, request_to(server, x=value))
            assert server.connections == 0

    asyncio.run(main())


def test_a_change_of_protocol_is_an_answer_that_cannot_be_read() -> None:
    """Nobody asked for one; the loop has no fault of ours to tell then, which would be a traceback."""
    act = send(b"HTTP/1.1 101 Changing\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")

    async def main() -> None:
        told: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with misbehaving(act) as server, opened(server) as transport:
            with pytest.raises(NotHttp):
                await body_of(transport, request_to(server))
        assert not told

    asyncio.run(main())


@pytest.mark.parametrize("start", [b"2\r\n{}\r\n0\r\nX: ", b"2\r\n{}\r\n2;x="], ids=["trailer", "extension"])
def test_what_is_no_body_is_bounded_after_the_head_too(start: bytes) -> None:
    """The parser would hold a trailer until its end, and be slower with each piece."""

    async def pour(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + start)
        for _ in range(64):
            writer.write(b"x" * 65536)
            await writer.drain()
        await asyncio.Event().wait()

    async def main() -> None:
        async with misbehaving(pour) as server, opened(server) as transport:
            with pytest.raises(Cut):
                await body_of(transport, request_to(server))

    asyncio.run(main())


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["a..example", "a" * 64 + ".example"])
def test_a_name_that_no_host_has_is_a_fault_of_ours(scheme: str, host: str) -> None:
    """What Python says of it is no error of a connection, and would end who asks."""

    async def main() -> None:
        server = MisbehavingServer(hang)
        server.url = f"{scheme}://{host}"
        async with opened(server) as transport:
            with pytest.raises(NotConnected, match="name of a host"):
                await body_of(transport, request_to(server))

    asyncio.run(main())


def test_a_token_is_never_sent_without_the_tls_that_was_asked_for() -> None:
    """A transport that has no settings of TLS refuses https, and does not fall back to plain HTTP."""

    async def main() -> None:
        async with misbehaving(hang) as server, HttpTransport(None, most=1) as transport:
            server.url = server.url.replace("http://", "https://")
            with pytest.raises(Unsendable, match="TLS"):
                await body_of(transport, request_to(server))
            assert server.connections == 0

    asyncio.run(main())


def test_a_connection_that_nobody_uses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time; nothing ticks when none is left."""
    monkeypatch.setattr(http_transport, "KEPT_S", 0.05)  # the time itself is not what is tested

    async def main() -> None:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await reader.read()
            ended.set()
            writer.close()

        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        server = MisbehavingServer(hang)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        try:
            async with opened(server) as transport:
                await body_of(transport, request_to(server))
                await ended.wait()
        finally:
            await stop_accepting(listening)

    asyncio.run(main())
