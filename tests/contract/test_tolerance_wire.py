"""Connections that stall, drip, break, speak nonsense, or lead elsewhere."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.accepting import stop_accepting
from tests.contract.calls import CALLS, LISTS, OBJECTS, Call, failure_of
from tests.contract.misbehaving import (
    Act,
    Asked,
    answer,
    drip,
    end_after,
    hang,
    head,
    json_answer,
    misbehaving,
    reset_after,
    send,
    stall_after,
)
from tests.skipping import run_skipping, skip
from worker.api.client import JobsApi
from worker.api.connect import open_api, open_batches
from worker.api.connection import ServerTraits
from worker.api.errors import EmptyAnswer, TransportError
from worker.api.models import Run
from worker.config import ApiConfig

RUN = b'{"id":"r","results":{"long":"' + b"x" * 400 + b'"}}'
CHUNKED = head(Transfer_Encoding="chunked")
PLAIN = head(length=len(RUN))
REQUEST_S = 10.0  # the time limit of a request; nothing that drips is done before
STEP_S = REQUEST_S / 20  # skipped at once: longer than between two drips
LIMIT_S = 60.0
ASKED: dict[str, Call] = {
    "GET": OBJECTS["get_run"], "POST": OBJECTS["create_run"], "PUT": OBJECTS["update_run"],
    "poll": LISTS["poll"],
}  # fmt: skip


def long_head() -> Iterator[bytes]:
    """Give a head byte by byte; it takes minutes."""
    content = head(x_long="x" * 5000)
    return (content[at : at + 1] for at in range(len(content)))


def endless_space() -> Iterator[bytes]:
    """Give white space before the JSON, for ever."""
    return itertools.repeat(b"1\r\n \r\n")


UNENDING = {
    "no answer": hang,
    "half a head": stall_after(PLAIN[:20]),
    "no body": stall_after(PLAIN),
    "half a body": stall_after(PLAIN + RUN[:-1]),
    "no last chunk": stall_after(CHUNKED + b"%x\r\n%b\r\n" % (len(RUN), RUN)),
    "half a chunk": stall_after(CHUNKED + b"%x\r\n%b" % (len(RUN), RUN[:50])),
    "a head byte by byte": drip(b"", long_head),
    "a body byte by byte": drip(CHUNKED, endless_space),
    "a refusal without its body": stall_after(head("503", length=10)),
}


@pytest.mark.parametrize("call", ASKED.values(), ids=ASKED)
def test_an_answer_that_does_not_end_is_given_up_after_the_time_limit(call: Call) -> None:
    """The limit is of the whole request: a byte now and then does not renew it."""

    async def main() -> None:
        async with asyncio.timeout(REQUEST_S + LIMIT_S), asyncio.TaskGroup() as group:
            ends = [group.create_task(one(name)) for name in UNENDING]
            while any(not end.done() for end in ends):
                await asyncio.sleep(0.001)
                await skip(STEP_S if begun == UNENDING.keys() else 0.0)

    async def one(name: str) -> None:
        async def act(asked: Asked, writer: asyncio.StreamWriter) -> None:
            begun.add(name)
            await UNENDING[name](asked, writer)

        error = await failure_of(act, call, REQUEST_S)
        assert isinstance(error, TransportError), name
        assert f"within {REQUEST_S:g} s" in str(error), name

    begun: set[str] = set()
    run_skipping(main())


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.parametrize("together", [1, 2])
def test_a_proxy_that_empties_brief_answers_is_asked_for_whole_ones(status: int, together: int) -> None:
    """After the first: a write that is repeated is answered, alone and with others in one request."""

    async def act(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(emptied(asked) or of_ours(asked))(asked, writer)

    def emptied(asked: Asked) -> bytes | None:
        return answer(b"", status, Millhand_Batch="32") if "prefer" in asked.headers else None

    async def main() -> None:
        async with misbehaving(act) as server:
            config, traits = ApiConfig(url=server.url, token="t"), ServerTraits()
            async with open_batches(config, agent="a", traits=traits) as batches:
                opening = open_api(config, agent="a", traits=traits, batches=batches, is_brief=True)
                async with opening as api:
                    await api.get_run("0")
                    ids = [str(at) for at in range(together)]
                    first = await asyncio.gather(*(told(api, id_) for id_ in ids), return_exceptions=True)
                    assert [type(one) for one in first] == [EmptyAnswer] * together
                    again = await asyncio.gather(*(told(api, id_) for id_ in ids))
                    assert [run.id for run in again] == ids

    asyncio.run(main())


def told(api: JobsApi, id_: str) -> Coroutine[Any, Any, Run]:
    """Report on a run."""
    return api.update_run(id_, {"progress": 0.5})


def of_ours(asked: Asked) -> bytes:
    """Answer as a server of ours does: one run, or each run of a batch."""
    if asked.path == "/api/batch":
        runs = [write["path"].rpartition("/")[2] for write in json.loads(asked.body)["writes"]]
        answers = [{"status": 200, "headers": {}, "body": {"id": id_}} for id_ in runs]
        return json_answer({"answers": answers}, Millhand_Batch="32")
    return json_answer({"id": asked.path.rpartition("/")[2]}, Millhand_Batch="32")


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # larger than any socket's buffers
def test_a_server_that_answers_without_reading_holds_nobody() -> None:
    """A large report that nobody takes is bounded too, though an answer has begun."""

    async def begin_an_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PLAIN)
        await closed.wait()
        writer.transport.abort()

    closed = asyncio.Event()

    async def main() -> None:
        listening = await asyncio.start_server(begin_an_answer, "127.0.0.1", 0, limit=1024)
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        body = {"results": {"text": "x" * 20_000_000}}
        try:
            async with asyncio.timeout(30.0):
                async with open_api(ApiConfig(url=url, request_timeout_s=0.25)) as api:
                    with pytest.raises(TransportError, match="within"):
                        await api.update_run("r", body)
        finally:
            closed.set()
            await stop_accepting(listening)

    asyncio.run(main())


@pytest.mark.parametrize("end", [reset_after, end_after])
@pytest.mark.parametrize(
    "content",
    [b"", PLAIN[:30], PLAIN, PLAIN + RUN[:20], CHUNKED + b"ff\r\n" + RUN[:20]],
    ids=["before the head", "in the head", "after the head", "in the body", "in a chunk"],
)
def test_a_connection_that_breaks_leaves_unknown_what_was_done(
    end: Callable[[bytes], Act], content: bytes
) -> None:
    """Reset, or closed in order. A GET or PUT is sent once more where no answer began; never a POST."""

    async def main() -> None:
        async with misbehaving(end(content)) as server, open_api(ApiConfig(url=server.url)) as api:
            for name, call in CALLS.items():
                before = len(server.asked)
                with pytest.raises(TransportError):
                    await call(api)
                sent = [asked.method for asked in server.asked[before:]]
                assert len(sent) <= (1 if "POST" in sent else 2), (name, sent)

    asyncio.run(main())


@pytest.mark.parametrize(
    "content",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"secret\x00\xff\r\n\r\n",
        b"HTTP/1.1 099 Secret\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Secret\r\nUpgrade: secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nsecret",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nsecret",
        b"HTTP/1.1 200 OK\r\nsecret: " + b"secret" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"secret: x\r\n" * 100_000 + b"\r\n",
        answer(b"", 204),
        answer(b"", 304),
    ],
    ids=[
        "ssh", "noise", "099", "101", "a length that is none",
        "a negative length", "two lengths", "an endless header", "endless headers", "204", "304",
    ],
)  # fmt: skip
def test_what_speaks_another_language_is_no_answer(content: bytes) -> None:
    """Only a status from 400 on says that something was not done; and what came is not quoted."""
    for call in ASKED.values():
        error = asyncio.run(failure_of(end_after(content), call))
        assert isinstance(error, TransportError)
        assert "secret" not in str(error).lower()
        assert "\n" not in str(error)


def test_what_is_left_of_one_answer_is_never_taken_for_the_next() -> None:
    """After a time limit, a broken body, or more than was announced, the connection is used no more."""
    spoilt = json_answer({"id": "left over"})

    async def until_it_is_late(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(PLAIN)
        await skip(REQUEST_S)
        await asyncio.Event().wait()

    async def main() -> None:
        async with misbehaving(hang) as server:
            config = ApiConfig(url=server.url, request_timeout_s=REQUEST_S)
            async with asyncio.timeout(REQUEST_S + LIMIT_S), open_api(config) as api:
                for act in (
                    until_it_is_late,
                    end_after(PLAIN[:9]),
                    send(answer(b"<", Content_Encoding="gzip")),
                ):
                    server.act = act
                    with pytest.raises(TransportError):
                        await api.get_run("r")
                    server.act = send(json_answer({"id": "r"}))
                    assert (await api.get_run("r")).id == "r"
                server.act = send(json_answer({"id": "first"}) + spoilt)
                assert (await api.get_run("r")).id == "first"
                server.act = send(json_answer({"id": "r"}))
                assert (await api.get_run("r")).id == "r"

    run_skipping(main())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed_and_the_token_stays(status: int) -> None:
    """For every request: nothing arrives elsewhere, and the message says what to do."""

    async def main() -> None:
        async with (
            misbehaving(send(json_answer({"id": "r"})), "127.0.0.2") as elsewhere,
            misbehaving(hang) as server,
            open_api(ApiConfig(url=server.url, token="secret-token")) as api,
        ):
            for place in (
                f"{elsewhere.url}/api/jobs/runs/r",
                f"//{elsewhere.url[7:]}/x",
                "http://[",
                "/other",
            ):
                server.act = send(answer(b"{}", status, Location=place))
                for call in CALLS.values():
                    with pytest.raises(TransportError, match="API URL"):
                        await call(api)
            assert elsewhere.connections == 0
            assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer secret-token"}
            assert "/other" not in {asked.path for asked in server.asked}

    asyncio.run(main())
