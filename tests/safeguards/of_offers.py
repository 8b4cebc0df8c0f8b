"""Safeguards of offers, each taken away."""

from __future__ import annotations

from collections.abc import Sequence

import worker.agent.ending
import worker.agent.offers
import worker.agent.operators.control.serving
import worker.agent.statedir
import worker.machine.notices
import worker.reporting.delivery
import worker.reporting.records
from server.joined import WholeCycle, WholeExchange
from server.pending.offers import Offer, Offers
from tests.safeguards.change import Change
from worker.api.models import Task

__all__ = [
    "any_clock_will_do",
    "any_run_was_offered",
    "anybody_is_there",
    "forgets_refused_offers",
    "gives_back_within_the_poll",
    "lease_from_the_answer",
    "offers_for_everybody",
    "offers_in_any_order",
]


def anybody_is_there() -> Sequence[Change]:
    """Claim tasks for agents that have gone; the line hears of that later."""
    return [(one, "is_there", True) for one in (WholeExchange, WholeCycle)]


def offers_in_any_order() -> Sequence[Change]:
    """Take each offer that comes for the newest, and for a new one."""

    def begin(self: Offers, org_id: str, offer: Offer) -> None:
        return None

    return [(Offers, "begin", begin)]


def offers_for_everybody() -> Sequence[Change]:
    """Offer runs to every server, from the first request on."""
    return [(worker.agent.offers.Offers, "_may_ask", lambda self, types: True)]


def any_run_was_offered() -> Sequence[Change]:
    """Begin with whatever run an answer to an offer shows."""
    return [(worker.agent.offers, "is_claim_of", lambda run, task, first: True)]


def gives_back_within_the_poll() -> Sequence[Change]:
    """Have a poll that is given up cut the giving back of its task."""

    async def give_back(self: worker.agent.offers.Offers, task: Task, why: str) -> None:
        if (won := self._won.pop(task.id, None)) is not None:
            await self._give_back(won, why)

    return [(worker.agent.offers.Offers, "give_back", give_back)]


def forgets_refused_offers() -> Sequence[Change]:
    """Take any refusal of an offer for the word that it has no run."""
    return [(worker.agent.offers.Offers, "_forget", lambda self, error: setattr(self, "_sent", None))]


def any_clock_will_do() -> Sequence[Change]:
    """Begin with a run whose start was told by a clock that was set since."""
    return [(worker.agent.offers.Offers, "_steps", lambda self, sent: ())]


def lease_from_the_answer() -> Sequence[Change]:
    """Count the lease of a run that an offer brought from when the agent heard of it."""
    return [(worker.agent.offers.Offers, "_since_mono", lambda self, run, sent: self._clock.mono())]
