"""How long a request may take, and how many are under way at once."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.connecting import LIMIT_S, OK, body_of, opened, request_to
from tests.contract.misbehaving import (
    Asked,
    hang,
    head,
    misbehaving,
    send,
)
from worker.api.faults import Fault


def test_what_takes_too_long_fails_wherever_it_is() -> None:
    """While it waits for its turn, its head, or its body; the next request finds a free connection."""

    async def half(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head(length=10) + b"half")
        await asyncio.Event().wait()

    async def main() -> None:
        async with misbehaving(hang) as server, opened(server, most=1) as transport:
            first = asyncio.create_task(body_of(transport, request_to(server), 0.2))
            await server.until(lambda: len(server.asked) == 1)
            with pytest.raises(TimeoutError):
                await body_of(transport, request_to(server), 0.01)
            with pytest.raises(TimeoutError):
                await first
            server.act = half
            with pytest.raises(TimeoutError):
                await body_of(transport, request_to(server), 0.1)
            server.act = send(OK)
            assert b"r" in await body_of(transport, request_to(server))

    asyncio.run(main())


def test_each_request_has_its_own_limit_though_they_share_a_timer() -> None:
    """In whatever order they were sent; the timer goes on for those that are left, and ends with the last."""

    async def main() -> None:
        async with misbehaving(hang) as server, opened(server) as transport:
            limits = (0.3, 0.1, 5.0, 0.2)
            asked = [
                asyncio.create_task(body_of(transport, request_to(server), limit_s)) for limit_s in limits
            ]
            ended: list[int] = []
            for at, one in enumerate(asked):
                one.add_done_callback(lambda _, at=at: ended.append(at))  # type: ignore[misc]
            done, left = await asyncio.wait(asked, timeout=1.5)
            assert ended == [1, 3, 0]
            assert all(isinstance(one.exception(), TimeoutError) for one in done)
            left.pop().cancel()
            server.act = send(OK)
            assert b"r" in await body_of(transport, request_to(server), 0.4)

    asyncio.run(main())


@pytest.mark.parametrize("most", [1, 2])
def test_who_gives_up_its_turn_in_the_moment_it_comes_passes_it_on(most: int) -> None:
    """Else one request less could be under way for ever."""

    async def main() -> None:
        async with misbehaving(send(OK)) as server, opened(server, most=most) as transport:
            for _ in range(3):
                first = [await transport.ask(request_to(server), LIMIT_S) for _ in range(most)]
                second = asyncio.create_task(body_of(transport, request_to(server)))
                await asyncio.sleep(0)
                await first[0].aclose()  # the turn is given to the second
                second.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await second
                for answer in first[1:]:
                    await answer.aclose()
                assert b"r" in await body_of(transport, request_to(server))

    asyncio.run(main())


def test_no_more_are_under_way_than_allowed() -> None:
    """The next one waits for its turn, and gets it also after one that was given up."""

    async def main() -> None:
        async with misbehaving(hang) as server, opened(server, most=1) as transport:
            first = asyncio.create_task(body_of(transport, request_to(server)))
            await server.until(lambda: len(server.asked) == 1)
            second = asyncio.create_task(body_of(transport, request_to(server)))
            await asyncio.sleep(0)
            assert server.connections == 1
            server.act = send(OK)
            first.cancel()
            assert b"r" in await second
            with pytest.raises(asyncio.CancelledError):
                await first

    asyncio.run(main())


def test_who_waits_is_told_when_the_connections_are_closed() -> None:
    """And a new one is refused."""

    async def main() -> None:
        async with misbehaving(hang) as server, opened(server) as transport:
            waiting = asyncio.create_task(body_of(transport, request_to(server)))
            await server.until(lambda: server.asked)
            await transport.aclose()
            with pytest.raises(Fault):
                await waiting
            with pytest.raises(Fault):
                await body_of(transport, request_to(server))

    asyncio.run(main())
