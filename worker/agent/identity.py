"""Who claims: the pair of pod id and start time that names one claim of one agent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from worker.api.models import Identity, Run
from worker.api.wire import parse_instant
from worker.clock import Clock
from worker.reporting.records import Entry

__all__ = ["PROBE", "Identities", "our_identity"]

PROBE: Final = "/probe"  # the end of the pod id of a claim that is posted once more
STEP: Final = timedelta(milliseconds=1)  # the wire's resolution


class Identities:
    """Make the identities of one agent: `startedAt` strictly increases, also when the clock goes back."""

    def __init__(self, pod_id: str, clock: Clock, not_before: datetime | None = None) -> None:
        """Keep the pod id; `not_before` is the last start time that an earlier life of the agent used."""
        self.pod_id = pod_id
        self._clock = clock
        self._last = not_before

    def next(self) -> Identity:
        """Return an identity that was never used before."""
        now = self._clock.now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        if self._last is not None and now <= self._last:
            now = self._last + STEP
        self._last = now
        return Identity(self.pod_id, now)

    def go_on_after(self, started_at: datetime) -> None:
        """Use none that is not younger from here on."""
        self._last = started_at if self._last is None else max(self._last, started_at)

    def probe(self, identity: Identity) -> Identity:
        """Return the identity under which a claim is posted once more, to see what the server does."""
        return Identity(identity.pod_id + PROBE, self.next().started_at)


def our_identity(entry: Entry, run: Run | None) -> Identity | None:
    """Return the identity of ours that a run carries: the claim's, or its probe's; None where another's."""
    if run is None:
        return None
    for pod_id, started_at in identities_of(entry):
        at = parse_instant(started_at)
        if at is not None and (identity := Identity(pod_id, at)).owns(run):
            return identity
    return None


def identities_of(entry: Entry) -> list[tuple[str, str]]:
    """Return the identities that an entry's run may carry."""
    found = [(entry.pod_id, entry.started_at)]
    for mark in entry.marks:
        if mark.startswith("probe|"):
            _, started_at, pod_id = mark.split("|", 2)
            found.append((pod_id, started_at))
    return found
