"""The facts of the machine as they are known now: a cloud or a driver that answers late is not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import structlog

from worker.machine.detect import as_machine
from worker.machine.facts import Fact, Facts
from worker.machine.in_cloud import Clouds
from worker.machine.place import with_cloud

__all__ = ["LiveFacts"]

LIMIT_S: Final = 10.0  # of one later question to a cloud: nothing waits for it
RETRY_BASE_S: Final = 5.0  # before it is asked again; doubled each time
RETRY_MAX_S: Final = 600.0
log = structlog.get_logger()


class LiveFacts:
    """What is known at the start, and what comes later. A cloud that has told all is not asked again."""

    def __init__(self, facts: Facts, clouds: Clouds) -> None:
        """Begin with what was found out within the limit of the start."""
        self._facts = facts
        self._clouds = clouds
        self._as_claim = known_fields(facts)
        self._as_body = body_of(facts)

    @property
    def now(self) -> Facts:
        """The facts."""
        return self._facts

    @property
    def has_gpus(self) -> bool:
        """Tell whether there is known to be a GPU."""
        return bool(self._facts.gpus.value)

    def as_run_fields(self) -> Mapping[str, Any]:
        """Return the fields of a run; unknown and absent are null."""
        return self._facts.as_run_fields()

    def as_claim(self) -> Mapping[str, Any]:
        """Return the fields of a claim: those of a run that are known. For reading: all claims share it."""
        return self._as_claim

    def as_body(self) -> Mapping[str, Any]:
        """Return what a report tells of the machine: the known fields, and `machine` with all sources."""
        return self._as_body

    async def complete(self, random: Random) -> None:
        """Ask the cloud again, ever more rarely, for as long as it was late or not well."""
        bound_s = RETRY_BASE_S
        while self._clouds.may_tell_more:
            await asyncio.sleep(random.uniform(bound_s / 2, bound_s))
            bound_s = min(bound_s * 2, RETRY_MAX_S)
            self._add(await self._clouds.ask(LIMIT_S))

    def _add(self, told: Mapping[str, Any]) -> None:
        """Take what is known now; what a cloud does not tell takes nothing away."""
        known = {name: fact for name, fact in told.items() if fact.state != "unknown"}
        self._become(with_cloud(dict(self._facts.items()), known))

    def add(self, found: Mapping[str, Fact]) -> None:
        """Take facts that were found out since."""
        self._become({**dict(self._facts.items()), **found})

    def _become(self, after: Mapping[str, Fact]) -> None:
        before = dict(self._facts.items())
        if changed := sorted(name for name, fact in after.items() if fact != before[name]):
            self._facts = Facts(**after)
            self._as_claim = known_fields(self._facts)
            self._as_body = body_of(self._facts)
            log.info("facts.came_late", facts=changed)


def body_of(facts: Facts) -> Mapping[str, Any]:
    """Return what a report tells of the machine."""
    return {**known_fields(facts), "machine": as_machine(facts)}


def known_fields(facts: Facts) -> Mapping[str, Any]:
    """Return the machine's fields of a run, without those that are null."""
    return {name: value for name, value in facts.as_run_fields().items() if value is not None}
