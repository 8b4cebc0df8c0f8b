"""Watch whether the machine is to be taken away, and end in time: what runs is stopped and given back.

A notice of the end stops claims at once. What runs is told to stop when the end is near: at once for the
notices of seconds and minutes that preemptions have, later for an hour's. Until then a notice that is
withdrawn lets all go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Final, Literal

import structlog
from msgspec import Struct

from worker.agent.drain import Drain
from worker.agent.holds import Holds
from worker.api.wire import ErrorKind
from worker.clock import Clock
from worker.machine.notice_sources import Source
from worker.machine.notices import LEAST_S, Look, Notice

__all__ = ["PreemptionWatch"]

HOLDER: Final = "preemption"
NEAR_S: Final = 120.0  # an end that is nearer stops what runs, and so does one within the time of a drain
PROBLEM_BASE_S: Final = 2.0  # before a source that has a problem is asked again; doubled each time
PROBLEM_MAX_S: Final = 30.0  # short enough for notices of two minutes
log = structlog.get_logger()


class Known(Struct, frozen=True):
    """A notice that stands."""

    notice: Notice
    end_mono: float | None


class PreemptionWatch:
    """Feed what the sources tell into holds and drain."""

    def __init__(
        self,
        drain: Drain,
        holds: Holds,
        clock: Clock,
        random: Random,
        *,
        drain_timeout_s: float,
        rebalance: Literal["log", "hold"],
    ) -> None:
        """`rebalance` is what comes of a machine at risk: it is only logged, or nothing more is claimed."""
        self._drain = drain
        self._holds = holds
        self._clock = clock
        self._random = random
        self._near_s = max(NEAR_S, drain_timeout_s)
        self._rebalance = rebalance
        self._known: dict[str, dict[str, Known]] = {}  # by source, by reason
        self._acted: set[str] = set()
        self._changed = asyncio.Event()

    async def run(self, sources: Sequence[Source]) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for source in sources:
                group.create_task(self._watch(source))
            group.create_task(self._act())

    async def _watch(self, source: Source) -> None:
        """Ask one source again and again; what is no answer concludes nothing, and is told once."""
        told, bound_s = "", PROBLEM_BASE_S
        while True:
            look = await look_at(source)
            if look.problem:
                if look.problem != told:
                    told = look.problem
                    hint = "asked again; without it a preemption is met by SIGTERM only"
                    log.warning("preemption.unknown", source=source.name, problem=look.problem, hint=hint)
                await asyncio.sleep(self._random.uniform(bound_s / 2, bound_s))
                bound_s = min(bound_s * 2, PROBLEM_MAX_S)
                continue
            if told:
                log.info("preemption.known_again", source=source.name)
            told, bound_s = "", PROBLEM_BASE_S
            self._take(source, look)
            await asyncio.sleep(source.every_s)

    def _take(self, source: Source, look: Look) -> None:
        """Keep what a source tells now; the same notice without a time keeps its end."""
        before = self._known.get(source.name, {})
        now = {notice.reason: self._known_of(notice, before.get(notice.reason)) for notice in look.notices}
        self._known[source.name] = now
        for reason in now.keys() - before.keys():
            notice = now[reason].notice
            left_s = None if notice.left_s is None else round(notice.left_s, 1)
            log.warning("preemption.noticed", reason=reason, weight=notice.weight, left_s=left_s)
        for reason in before.keys() - now.keys():
            log.info("preemption.withdrawn", reason=reason, is_too_late=reason in self._acted)
        self._changed.set()

    def _known_of(self, notice: Notice, before: Known | None) -> Known:
        if notice.weight != "end":
            return Known(notice, None)
        end_mono = self._clock.mono() + (LEAST_S if notice.left_s is None else notice.left_s)
        if before is not None and before.end_mono is not None and not notice.is_timed:
            end_mono = min(end_mono, before.end_mono)
        return Known(notice, end_mono)

    async def _act(self) -> None:
        """Do what the notices ask for, when one comes or goes, and when an end has come near."""
        while True:
            self._changed.clear()
            wait_s = self._decide()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _decide(self) -> float | None:
        """Hold claims, drain, or let go on; returns when an end comes near, in seconds, if one does."""
        now_mono = self._clock.mono()
        known = [one for by_reason in self._known.values() for one in by_reason.values()]
        ends = [(one.end_mono - now_mono, one.notice.reason) for one in known if one.end_mono is not None]
        risks = [one.notice.reason for one in known if one.notice.weight == "risk"]
        self._hold([reason for _, reason in ends] + (risks if self._rebalance == "hold" else []))
        for left_s, reason in sorted(ends):
            if left_s <= self._near_s and reason not in self._acted:
                self._acted.add(reason)
                self._drain.request(ErrorKind.PREEMPTED, reason, max(left_s, LEAST_S))
        return min((left_s - self._near_s for left_s, _ in ends if left_s > self._near_s), default=None)

    def _hold(self, reasons: Sequence[str]) -> None:
        if reasons:
            hint = "what runs is stopped when the end is near; claims go on if the cloud withdraws this"
            self._holds.hold(HOLDER, "; ".join(sorted(reasons)), hint)
        else:
            self._holds.lift(HOLDER)


async def look_at(source: Source) -> Look:
    """Ask a source once; what fails on this side (no thread can be had) is a problem, and no end."""
    try:
        return await source.look()
    except Exception as exc:  # noqa: BLE001 - the watch of the others must go on, too
        return Look(problem=f"{type(exc).__name__}: {exc}")
