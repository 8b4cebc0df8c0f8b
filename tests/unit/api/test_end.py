"""What is tried, and how long, when an end comes in sight: in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise
from random import Random

import httpx
import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from worker.api.client import JobsApi
from worker.api.connection import Connection
from worker.api.errors import RateLimited, TransportError
from worker.api.over_httpx import OverHttpx
from worker.api.retry import DELIVER, Retrier
from worker.api.token import FixedToken


class EndAt:
    """An end that is known from a moment on."""

    def __init__(self, known_at: float, end_at: float) -> None:
        """Times of the loop."""
        self.known_at, self.end_at = known_at, end_at

    def end_in_s(self) -> float | None:
        """Return the seconds until the end, once it is known."""
        now = asyncio.get_running_loop().time()
        return None if now < self.known_at else self.end_at - now

    async def requested(self) -> None:
        """Wait until it is known."""
        await asyncio.sleep(max(0.0, self.known_at - asyncio.get_running_loop().time()))


def tries(end: EndAt, error: TransportError | RateLimited) -> list[float]:
    """Return when a request is made that never succeeds, until the end."""

    async def main() -> list[float]:
        made: list[float] = []

        async def request() -> None:
            made.append(asyncio.get_running_loop().time())
            raise error

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(end.end_at):
                await Retrier(Random(1), VirtualClock(), end).call(DELIVER, request)
        return made

    return run_virtual(main())


def test_a_long_wait_is_cut_when_the_end_comes_in_sight() -> None:
    """An outcome that waits up to a minute is tried again within a tenth of what is left, again and again."""
    made = [at for at in tries(EndAt(3600.0, 3605.0), TransportError("x")) if at >= 3600.0]
    assert made[0] <= 3600.5
    assert made[-1] > 3604.0
    assert max(later - at for at, later in pairwise(made)) <= 0.5


def test_a_server_that_wants_to_be_left_alone_is_left_alone_all_the_same() -> None:
    """`Retry-After` counts more than our haste."""
    made = tries(EndAt(10.0, 100.0), RateLimited("x", retry_after_s=40.0))
    assert len(made) == 3
    assert min(later - at for at, later in pairwise(made)) >= 40.0


@pytest.mark.parametrize(("left_s", "limit_s"), [(1.0, 2.0), (5.0, 2.5), (20.0, 10.0), (600.0, 30.0)])
def test_a_request_does_not_take_all_the_time_that_is_left(left_s: float, limit_s: float) -> None:
    """A connection to a host that vanished is given up in time for another one."""

    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(1e6)
        raise AssertionError

    async def main() -> float:
        api = JobsApi(Connection(OverHttpx(httpx.MockTransport(never)), "http://virtual", FixedToken("t")))
        api.end_with(EndAt(0.0, left_s))
        with pytest.raises(TransportError):
            await api.get_run("r")
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(limit_s)
