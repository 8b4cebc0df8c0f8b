"""The head of an answer goes out with its body."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from server.joined import JoinedWrites


class Recording(asyncio.Transport):
    """Notes each write."""

    def __init__(self) -> None:
        """Nothing is written, nothing closed."""
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        """Note it."""
        assert not self.is_closed
        self.writes.append(bytes(data))

    def close(self) -> None:
        """Take no more."""
        self.is_closed = True

    def is_closing(self) -> bool:
        """Tell whether it was closed."""
        return self.is_closed


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario within a limit."""
    asyncio.run(asyncio.wait_for(scenario, 30.0))


def test_a_head_and_the_beginning_of_its_body_are_one_write() -> None:
    """And no more of an answer is held."""

    async def scenario() -> None:
        transport = Recording()
        joined = JoinedWrites(transport, asyncio.get_running_loop())
        joined.write(b"head")
        assert transport.writes == []
        joined.write(b"body")
        joined.write(b"more")
        assert transport.writes == [b"headbody", b"more"]
        await asyncio.sleep(0)
        assert transport.writes == [b"headbody", b"more"]

    run(scenario())


def test_a_head_whose_body_takes_its_time_goes_out_with_the_next_round() -> None:
    """Who reads a stream of events knows at once that it has begun."""

    async def scenario() -> None:
        transport = Recording()
        joined = JoinedWrites(transport, asyncio.get_running_loop())
        joined.write(b"100 continue")
        await asyncio.sleep(0)
        assert transport.writes == [b"100 continue"]
        joined.write(b"head")
        await asyncio.sleep(0)
        joined.write(b"event")
        await asyncio.sleep(0)
        joined.write(b"event")
        await asyncio.sleep(0)
        assert transport.writes == [b"100 continue", b"head", b"event", b"event"]

    run(scenario())


def test_what_is_held_goes_out_before_the_close_and_never_after_it() -> None:
    """An answer without a body is whole; a connection that is lost meanwhile takes none."""

    async def scenario() -> None:
        transport = Recording()
        joined = JoinedWrites(transport, asyncio.get_running_loop())
        joined.write(b"head")
        joined.close()
        assert transport.writes == [b"head"]
        assert joined.is_closing()
        await asyncio.sleep(0)

        lost = Recording()
        joined = JoinedWrites(lost, asyncio.get_running_loop())
        joined.write(b"head")
        lost.close()
        await asyncio.sleep(0)
        assert lost.writes == []

    run(scenario())
