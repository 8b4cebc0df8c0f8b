"""What an agent is made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any

from msgspec import Struct, field

from worker.agent.free_space import FreeSpace
from worker.agent.gpus.pool import Gpus
from worker.agent.holds import Watch
from worker.agent.places import STREAK
from worker.agent.server_kind import ServerKind
from worker.api.client import JobsApi
from worker.clock import Clock
from worker.executor.executor import Executor
from worker.reporting.journal import Journal
from worker.storage.spool import Spool
from worker.storage.store import Store

__all__ = ["Parts"]


class Parts(Struct, frozen=True, kw_only=True):
    """What an agent is made of: on a real machine, or in a simulation."""

    clock: Clock
    random: Random
    poll_api: JobsApi  # connections of their own for each purpose, so that none starves another
    claim_api: JobsApi
    report_api: JobsApi
    executor: Executor
    journal: Journal
    spool: Spool
    store: Store
    pod_id: str  # the identity: <pod uid or host>/<agent id>
    types: Collection[str]  # that have a handler here
    facts: Callable[[], Mapping[str, Any]]  # the machine's fields of a claim
    machine: Callable[[], Mapping[str, Any]]  # the same for reports, with `machine`: all facts, with sources
    gpus: Gpus  # that are free, and what the machine lacks for a task
    kind: ServerKind
    on_kind: Callable[[ServerKind], None]
    space: FreeSpace  # on the disks that the agent fills
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of the handlers, by type
    lacks: Callable[[str], tuple[str, ...]] = lambda _: ()  # what a type's handler asks for and is not here
    watches: Sequence[Watch] = ()  # what else is watched while it works
    standing: Mapping[str, Callable[[], bool]] = field(default_factory=dict)  # what may be stuck beside it
    version: str = "not installed"  # of millhand
    streak: int = STREAK  # short runs in a row, before claims go ahead of free slots
    not_ending: Callable[[], int] = lambda: 0  # trees of processes that were killed, and are still there
