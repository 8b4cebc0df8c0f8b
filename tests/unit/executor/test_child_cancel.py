"""What a stop does to an async handler."""

from __future__ import annotations

import socket

from worker.executor.channel import BlockingChannel
from worker.executor.child import Child
from worker.executor.handler_state import HandlerState
from worker.sdk.handler import HandlerSpec


async def answer() -> str:
    """Return at once."""
    return "done"


def test_a_stop_right_after_the_end_of_an_async_handler_does_nothing() -> None:
    """Its loop is closed: by a signal, what came of that would take the place of the result."""
    near, far = socket.socketpair()
    with near, far:
        child = Child(BlockingChannel(far))
        state = HandlerState(HandlerSpec("x", answer), ())
        assert child._complete(answer(), state) == "done"
        assert child._cancel is not None
        child._cancel()
