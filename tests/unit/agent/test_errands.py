"""Tasks that are cancelled together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from worker.agent.errands import cancel


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario within a limit; a fault that nobody looked at breaks it."""

    async def watched() -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: faults.append(fault))
        await asyncio.wait_for(scenario, 30.0)
        assert faults == []

    asyncio.run(watched())


async def fails() -> None:
    """End with a fault."""
    raise ValueError("no")


def test_who_is_cancelled_has_cleaned_up_and_who_is_done_costs_no_round() -> None:
    """Also where one ended with a fault, which is known then and told nowhere."""

    async def scenario() -> None:
        cleaned = asyncio.Event()

        async def lives() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned.set()

        living, failed = asyncio.create_task(lives()), asyncio.create_task(fails())
        await asyncio.sleep(0)
        await cancel(living, failed)
        assert cleaned.is_set()
        assert living.cancelled()

        turns: list[int] = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        await cancel(living, failed)
        assert turns == []
        del living, failed

    run(scenario())
