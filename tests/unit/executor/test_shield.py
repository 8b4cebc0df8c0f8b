"""What must be done is done, however often its waiter is cancelled."""

import asyncio

import pytest

from tests.unit.executor.bench import within_limit
from worker.executor.shield import to_the_end


def test_a_cancelled_waiter_waits_to_the_end_and_is_cancelled_then() -> None:
    """Two cancellations do not hurry it; the cancellation is not lost."""
    done: list[str] = []

    async def scenario() -> None:
        started, may_end = asyncio.Event(), asyncio.Event()

        async def doing() -> None:
            started.set()
            await may_end.wait()
            done.append("done")

        waiter = asyncio.create_task(to_the_end(doing()))
        await started.wait()
        for _ in range(2):
            waiter.cancel()
            await asyncio.sleep(0)
            assert not waiter.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert done == ["done"]

    within_limit(scenario())


def test_what_goes_wrong_reaches_the_waiter() -> None:
    """An error is not swallowed with the cancellation."""

    async def doing() -> None:
        raise OSError("disk")

    async def scenario() -> None:
        with pytest.raises(OSError, match="disk"):
            await to_the_end(doing())

    within_limit(scenario())
