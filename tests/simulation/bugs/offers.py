"""Bugs of offers."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.bugs.change import Change
from worker.agent.offers import Offers
from worker.api.models import Task

__all__ = ["gives_nothing_back"]


def gives_nothing_back() -> Sequence[Change]:
    """Keep silent about a task that came for an offer, and cannot begin any more."""

    async def give_back(self: Offers, task: Task, why: str) -> None:
        if (won := self._won.pop(task.id, None)) is not None:
            entry = self._entry(task, won.run)
            await self._journal.intent(entry)
            await self._journal.close_entry(entry.run_id)

    return [(Offers, "give_back", give_back)]
