"""The minder is told the limits that the agent itself holds, so that a stuck agent changes nothing."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from worker.api.wire import ErrorKind
from worker.clock import SystemClock
from worker.executor.deadlines import LIMIT_GRACE_S, RunLimits
from worker.executor.evidence import StopReason
from worker.executor.executor import StopRequest
from worker.executor.frames import Down
from worker.executor.lease import Lease
from worker.executor.limits import Limits
from worker.executor.link import ChildLink
from worker.executor.steering import GUARD_MARGIN_S, Pilot


class HeardLink:
    """Keeps what the minder would be told."""

    is_frozen = False

    def __init__(self) -> None:
        self.life = self.limits = self
        self.left_s: float | None = None

    def send(self, frame: Down) -> None:
        """Forget it."""

    def signal(self, number: int) -> None:
        """Forget it."""

    def hold(self, deadline_s: float | None, memory_bytes: int | None, freeze_s: float | None) -> None:
        """Keep how long is left."""
        left_s = None if deadline_s is None else deadline_s - time.clock_gettime(time.CLOCK_BOOTTIME)
        self.left_s = left_s


def test_a_long_grace_does_not_put_a_limit_off() -> None:
    """A run that is drained for an hour, and may take ten seconds, is killed by the minder too."""
    clock, link = SystemClock(), HeardLink()
    now = clock.mono()
    limits = RunLimits(300.0, Limits(), Limits(timeout_s=10.0), now)
    limits.ready(Limits(), now)
    pilot = Pilot(cast("ChildLink", link), "run", limits, Lease(), clock)
    pilot.stop(StopReason(ErrorKind.DRAINED, "it leaves"), 3600.0)
    pilot.steer(now)
    assert link.left_s is not None
    assert link.left_s <= 10.0 + LIMIT_GRACE_S + GUARD_MARGIN_S
    pilot.steer(now + 11.0)
    assert link.left_s <= LIMIT_GRACE_S + GUARD_MARGIN_S


def test_who_follows_a_stop_hears_what_is_new_in_it() -> None:
    """The first request, each nearer deadline, and one that was there before; nothing after the end."""

    async def scenario() -> None:
        stop, heard = StopRequest(), list[float | None]()
        end = stop.follow(lambda: heard.append(stop.grace_s))
        assert heard == []
        stop.request(ErrorKind.DRAINED, "the agent stops", 100.0)
        stop.request(ErrorKind.CANCELLED, "the job was stopped", 200.0)
        stop.request(ErrorKind.PREEMPTED, "the machine goes", 10.0)
        assert [round(grace_s or 0.0) for grace_s in heard] == [100, 10]
        assert stop.kind is ErrorKind.DRAINED
        end()
        stop.request(ErrorKind.PREEMPTED, "the machine goes", 1.0)
        assert len(heard) == 2
        stop.follow(lambda: heard.append(stop.grace_s))
        assert round(heard[-1] or 0.0) == 1

    asyncio.run(scenario())
