"""Bugs of the next start."""

from __future__ import annotations

from collections.abc import Sequence

import worker.agent.claim
import worker.agent.election
import worker.agent.recovery
import worker.reporting.delivery
import worker.reporting.requeue
from tests.simulation.bugs.change import Change
from worker.agent.identity import our_identity
from worker.agent.recovery import Recovery
from worker.api.models import Identity, Run
from worker.reporting.records import Entry


def no_recovery() -> Sequence[Change]:
    """Begin anew, whatever an earlier life left."""

    async def recover(self: Recovery, entry: Entry) -> None:
        await self._journal.close_entry(entry.run_id)

    return [(Recovery, "_recover", recover)]


def recovers_what_is_anothers() -> Sequence[Change]:
    """End the run of an intent, whoever has it."""

    def identity(entry: Entry, run: Run | None) -> Identity | None:
        at = worker.agent.recovery.must_be_instant(entry.started_at)
        return our_identity(entry, run) or (Identity(entry.pod_id, at) if run else None)

    return [(worker.agent.recovery, "our_identity", identity)]


def forgets_intents() -> Sequence[Change]:
    """Drop an intent whose run is not there, though its request may be on its way."""

    async def repost(self: Recovery, entry: Entry) -> None:
        return None

    return [(Recovery, "_repost", repost)]
