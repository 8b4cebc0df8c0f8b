"""What goes by which connections."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import pytest

from worker.agent.clients import open_clients
from worker.config import AgentConfig, ApiConfig


@pytest.mark.parametrize(
    ("slots", "batches", "together"), [(1, "auto", False), (2, "auto", True), (2, "off", False)]
)
def test_writes_go_together_where_several_slots_make_some_at_one_moment(
    tmp_path: Path, slots: int, batches: Literal["auto", "off"], together: bool
) -> None:
    """With one slot each would only wait for others that do not come."""
    config = AgentConfig(
        state_dir=tmp_path, api=ApiConfig(url="http://127.0.0.1:1"), concurrency=slots, batches=batches
    )

    async def opened() -> bool:
        async with AsyncExitStack() as stack:
            return (await open_clients(stack, config, "pod/a")).batches is not None

    assert asyncio.run(opened()) is together
