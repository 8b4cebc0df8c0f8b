"""What a server asks for, tokens that change, and connections that are used up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.calls import LISTS, OBJECTS, failure_of
from tests.contract.misbehaving import Act, Asked, answer, hang, json_answer, misbehaving, send
from tests.skipping import run_skipping, skip
from worker.agent.clients import open_clients
from worker.api import transport
from worker.api.connect import open_api
from worker.api.connection import RETRY_AFTER_MAX_S, ServerTraits
from worker.api.errors import ApiError, RateLimited, ServerError, TransportError, Unauthorized
from worker.config import AgentConfig, ApiConfig

LIMIT_S = 30.0
REQUEST_S = 600.0  # of which nothing is waited for
POOL = 4  # connections of a pool; the real number would only need more sockets
NOW = "Sun, 06 Nov 1994 08:49:37 GMT"  # the server's clock, decades from ours


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("asked", "date", "told_s"),
    [
        ("7", None, 7.0),
        (" 1.5 ", None, 1.5),
        ("0", NOW, 0.0),
        ("-3", NOW, 0.0),
        ("1e9", NOW, RETRY_AFTER_MAX_S),
        ("9" * 400, NOW, None),
        ("Sun, 06 Nov 1994 08:50:37 GMT", NOW, 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", NOW, 60.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", NOW, 0.0),
        ("Sun, 06 Nov 2094 08:50:37 GMT", NOW, RETRY_AFTER_MAX_S),
        ("Sun, 06 Nov 1994 08:50:37 GMT", None, None),
        ("Sun, 06 Nov 1994 08:50:37 GMT", "yesterday", None),
        ("Sun, 06 Nov 99999999999 08:49:37 GMT", NOW, None),
        ("Sun, 06 Nov 1994 08:49:37 +99999999999999", NOW, None),
        ("7", "Sun, 06 Nov 99999999999 08:49:37 GMT", 7.0),
        ("soon", NOW, None),
        ("nan", NOW, None),
        ("inf", NOW, None),
        ("", NOW, None),
        ("\xfc\xff", NOW, None),
    ],
)
def test_retry_after_is_read_against_the_date_of_the_same_answer(
    status: int, asked: str, date: str | None, told_s: float | None
) -> None:
    """Seconds or a date; never our own clock, never more than an hour; what cannot be read is not told."""
    headers = {"Retry_After": asked} | ({"Date": date} if date else {})
    error = asyncio.run(failure_of(send(answer(b"", status, **headers)), OBJECTS["get_run"]))
    assert isinstance(error, RateLimited if status == 429 else ServerError)
    assert error.retry_after_s == told_s


def test_the_date_of_an_earlier_answer_says_nothing_about_a_wait() -> None:
    """It may be hours old: an answer without a date leaves the wait to our own back-off."""

    async def main() -> float | None:
        traits = ServerTraits()
        async with (
            misbehaving(send(json_answer({"id": "r"}, Date=NOW))) as server,
            open_api(ApiConfig(url=server.url), traits=traits) as api,
        ):
            await api.get_run("r")
            assert traits.date is not None
            server.act = send(answer(b"", 429, Retry_After="Sun, 06 Nov 1994 09:30:00 GMT"))
            with pytest.raises(RateLimited) as caught:
                await api.get_run("r")
            return caught.value.retry_after_s

    assert asyncio.run(main()) is None


def test_the_request_after_a_refused_token_carries_the_new_one(tmp_path: Path) -> None:
    """On the connection that is open; the file is replaced, rewritten, and away for a moment."""
    file = tmp_path / "token"

    valid = "first"

    async def answered(asked: Asked, writer: asyncio.StreamWriter) -> None:
        is_let_in = asked.headers.get("authorization") == f"Bearer {valid}"
        content = json_answer({"id": "r"}) if is_let_in else json_answer({}, 401)
        await send(content)(asked, writer)

    async def main() -> list[str | None]:
        nonlocal valid
        file.write_text("first")
        async with misbehaving(answered) as server:
            config = ApiConfig(url=server.url, token="never sent", token_file=file)
            async with asyncio.timeout(LIMIT_S), open_api(config) as api:
                assert (await api.get_run("r")).id == "r"
                for valid in ("second", "third!"):
                    with pytest.raises(Unauthorized, match="MILLHAND_TOKEN_FILE"):
                        await api.update_run("r", {"progress": 0.5})
                    replaced = tmp_path / "new"
                    replaced.write_text(f"{valid}\n")
                    replaced.replace(file)
                    assert (await api.update_run("r", {"progress": 0.5})).id == "r"
                file.unlink()
                assert (await api.get_run("r")).id == "r"
            assert server.connections == 1
            return [asked.headers.get("authorization") for asked in server.asked]

    sent = asyncio.run(main())
    names = ("first", "first", "second", "second", "third!", "third!")
    assert sent == [f"Bearer {name}" for name in names]


# Pools


def hanging(*methods: str) -> Act:
    """Let requests of these methods wait for ever, and answer all others."""

    async def act(asked: Asked, writer: asyncio.StreamWriter) -> None:
        found: Any = {"id": "r"} if asked.method != "GET" or asked.path.endswith("/r") else {"tasks": []}
        await (hang if asked.method in methods else send(json_answer(found)))(asked, writer)

    return act


@pytest.fixture
def _small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pool have few connections: a module's constant, that nothing else can change."""
    monkeypatch.setattr(transport, "CONNECTIONS_MAX", POOL)


@pytest.mark.usefixtures("_small_pools")
@pytest.mark.parametrize("stuck", ["poll", "claim", "report"])
def test_requests_that_hang_take_no_connection_from_those_for_another_purpose(
    stuck: str, tmp_path: Path
) -> None:
    """As the agent is wired: polls, claims and reports have connections of their own, and no common limit."""
    calls = {"poll": LISTS["poll"], "claim": OBJECTS["create_run"], "report": OBJECTS["update_run"]}
    method = {"poll": "GET", "claim": "POST", "report": "PUT"}[stuck]

    async def scenario() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(LIMIT_S):
            server = await stack.enter_async_context(misbehaving(hanging(method)))
            config = AgentConfig(state_dir=tmp_path, api=ApiConfig(url=server.url, token="t"))
            clients = await open_clients(stack, config, "pod/a")
            apis = {"poll": clients.poll, "claim": clients.claim, "report": clients.report}
            held = [asyncio.create_task(caught(calls[stuck](apis[stuck]))) for _ in range(POOL)]
            await server.until(lambda: [one.method for one in server.asked].count(method) == POOL)
            for name, call in calls.items():
                if name != stuck:
                    for _ in range(3):
                        await call(apis[name])
            assert not any(task.done() for task in held)
            server.act = send(answer(b"", 503))  # a GET or PUT is sent once more
            await server.end()
            assert None not in {await task for task in held}

    asyncio.run(scenario())


@pytest.mark.usefixtures("_small_pools")
def test_a_request_that_finds_no_free_connection_is_given_up_in_time() -> None:
    """Within one purpose hanging requests do hold up others: for the time limit, no longer."""

    async def scenario() -> None:
        async with misbehaving(hanging("GET")) as server, asyncio.timeout(REQUEST_S + LIMIT_S):
            patient = ApiConfig(url=server.url, token="t", request_timeout_s=REQUEST_S)
            async with open_api(patient) as api:
                held = [asyncio.create_task(caught(api.poll(page=1, per_page=9))) for _ in range(POOL)]
                await server.until(lambda: len(server.asked) == POOL)
                late = asyncio.create_task(caught(api.update_run("r", {})))
                await asyncio.sleep(0)
                await skip(REQUEST_S)
                assert isinstance(await late, (TransportError, type(None)))
                assert {type(await task) for task in held} == {TransportError}
                assert (await api.update_run("r", {})).id == "r"

    run_skipping(scenario())


async def caught(request: Awaitable[object]) -> ApiError | None:
    """Return the error of a request."""
    try:
        await request
    except ApiError as error:
        return error
    return None
