"""Bugs of claims that go ahead of free slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.simulation.bugs.change import Change
from worker.agent.places import Places


def no_places() -> Sequence[Change]:
    """Start whatever is claimed, be there a slot for it or not."""

    async def take(self: Places, run_id: str, stop: Any) -> bool:
        self._going[run_id] = self._clock.mono()
        return True

    return [(Places, "take", take)]
