"""Who claims: the pair of pod id and start time that names one claim of one agent."""

from __future__ import annotations

from datetime import datetime, timedelta

from worker.api.models import Identity
from worker.clock import Clock

__all__ = ["Identities"]

STEP = timedelta(milliseconds=1)  # the wire's resolution


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

    def probe(self, identity: Identity) -> Identity:
        """Return the identity under which a claim is posted once more, to see what the server does."""
        return Identity(f"{identity.pod_id}/probe", self.next().started_at)
