"""A child's end that takes long, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.simulation.loop import run_virtual
from worker.executor.life import SLOW_S, Life
from worker.executor.minder_process import Minder


def test_a_tree_that_outlives_its_kill_is_counted_until_it_is_gone() -> None:
    """Also when who waited for it was cancelled; one that is only told to end is not counted yet."""

    async def main() -> None:
        orders: list[dict[str, Any]] = []
        minder = Minder(mark="m")
        life = minder._lives[1] = Life(1, 1, orders.append)
        other = minder._lives[2] = Life(2, 1, orders.append)
        ending = asyncio.create_task(life.end())
        await asyncio.sleep(SLOW_S - 1.0)
        second = asyncio.create_task(other.end())
        assert minder.not_ending() == 0
        await asyncio.sleep(2.0)
        assert minder.not_ending() == 1
        ending.cancel()
        await asyncio.sleep(SLOW_S)
        assert minder.not_ending() == 2
        life.lose_minder()
        assert minder.not_ending() == 1
        other.lose_minder()
        assert minder.not_ending() == 0
        assert (await second).is_minder_lost
        assert [(one["do"], one["id"]) for one in orders] == [("end", 1), ("end", 2)]

    run_virtual(main())
