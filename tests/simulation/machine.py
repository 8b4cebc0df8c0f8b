"""One simulated machine: its disk and its clock outlive its agents, which are the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.simulation.gathering import Gathering
from tests.simulation.life import Life, MortalIO, MortalTransport
from tests.simulation.loop import VirtualClock
from tests.simulation.stage import BookKeepingExecutor
from tests.simulation.store import MortalStore, VirtualSpool
from tests.simulation.watch import Watch as Onlooker
from tests.simulation.world import LAG_S, World, until
from tests.unit.placement.machines import machine
from tests.unit.reporting.memory import MemoryDisk, MemoryIO
from worker.agent.assemble import Agent, Parts, assemble
from worker.agent.free_space import FreeSpace
from worker.agent.gpus.pool import Gpus
from worker.agent.holds import Watch
from worker.agent.server_kind import ServerKind
from worker.api.client import JobsApi
from worker.api.connection import Connection, ServerTraits
from worker.api.over_httpx import OverHttpx
from worker.api.token import FixedToken
from worker.api.wire import ErrorKind
from worker.config import AgentConfig
from worker.reporting.journal import Journal, Limits
from worker.reporting.records import Entry
from worker.storage.file import SpooledFile

__all__ = ["Machine", "work_off"]

FACTS: Final = {"nodeCPUs": 2}

SMALL: Final = Limits(reserve_bytes=16 << 10)  # of a report here; room is written out in memory


class WatchedJournal(Journal):
    """The real journal; the watch learns what it promised."""

    watch: Onlooker
    machine: str

    async def terminal(self, run_id: str, *args: Any, **options: Any) -> None:
        """Have an outcome on disk, and say so."""
        await super().terminal(run_id, *args, **options)
        self.watch.written(self.machine, self.entries[run_id])

    async def ended(self, run_id: str, *args: Any, **options: Any) -> None:
        """Have an outcome on disk whose files follow, and say so."""
        await super().ended(run_id, *args, **options)
        self.watch.written(self.machine, self.entries[run_id])

    def close_soon(self, run_id: str) -> None:
        """Be done with an entry, and say so."""
        entry = self.entries.get(run_id)
        super().close_soon(run_id)
        if entry is not None:
            self.watch.closed(self.machine, entry)


class Machine:
    """One machine: its disk outlives its agents."""

    def __init__(
        self, world: World, name: str, *, clock: VirtualClock | None = None, **settings: Any
    ) -> None:
        """Start with an empty disk."""
        self.world, self.name, self.disk = world, name, MemoryDisk()
        self.network = world.network
        self.clock = clock or VirtualClock()
        self.kind = ServerKind.UNKNOWN
        self.life = Life()
        self.spooled: dict[str, SpooledFile] = {}  # what its spool holds, by path
        self.space = FreeSpace([], 0)
        self.watches: tuple[Watch, ...] = ()  # what goes on beside the agent's work
        self.entries: Mapping[str, Entry] = {}  # what the living agent's journal holds
        usual = {"concurrency": 3, "poll_interval_s": 2.0, "poll_max_s": 5.0, "drain_timeout_s": 60.0}
        usual["settle_s"] = LAG_S + 0.1
        self.config = AgentConfig(state_dir=Path("/nowhere"), **(usual | settings))

    async def agent(self, dies_at: int | None = None) -> Agent:
        """Return an agent that is ready to work, on whatever an earlier one left.

        With `dies_at`, its life is over before that step.
        """
        self.life = Life(dies_at)
        self.io = MortalIO(self.disk, self.life)
        journal = await WatchedJournal.open(self.io, self.clock, SMALL)
        journal.watch, journal.machine = self.world.watch, self.name
        self.world.watch.opened(self.name, journal.entries)
        spool = VirtualSpool(self.spooled, self.life.check, self.config.spool_bytes)
        spool.sweep(journal.entries)
        self.entries = journal.entries
        transport = OverHttpx(MortalTransport(self.network, self.name, self.life))
        traits = ServerTraits()
        batches = Gathering(
            Connection(transport, "http://virtual", FixedToken("t"), traits=traits), self.world.random
        )
        connection = Connection(transport, "http://virtual", FixedToken("t"), traits=traits)
        api = JobsApi(connection, batches=batches, is_brief=True)

        def keep(kind: ServerKind) -> None:
            self.kind = kind

        parts = Parts(
            clock=self.clock, random=self.world.random, poll_api=api, claim_api=api, report_api=api,
            executor=self.executor_of(spool), journal=journal, pod_id=self.name, spool=spool,
            store=MortalStore(self.world.store, self.life.check),
            types=["noop"],
            facts=lambda: FACTS, machine=lambda: FACTS | {"machine": {"host": self.name}},
            gpus=Gpus(machine(), self.config),
            kind=self.kind, on_kind=keep, space=self.space,
            watches=self.watches, streak=2,
        )  # fmt: skip
        return assemble(parts, self.config)

    def executor_of(self, spool: VirtualSpool) -> BookKeepingExecutor:
        """Return the executor of a new life."""
        return BookKeepingExecutor(self.world, self.life, spool, self.clock, self.name)

    async def open_entries(self) -> list[Entry]:
        """Return what the journal on the disk holds, as the next agent would find it."""
        journal = await Journal.open(MemoryIO(self.disk), self.clock, SMALL)
        return list(journal.entries.values())


async def work_off(world: World, machines: list[Machine]) -> None:
    """Let agents work until every task shows a success and all is told, then drain them."""
    agents = [await machine.agent() for machine in machines]
    lives = [asyncio.create_task(agent.run()) for agent in agents]

    def is_done() -> bool:
        if world.watch.found or world.overlaps:
            return True  # it is broken; nothing becomes better
        entries = [entry for machine in machines for entry in machine.entries.values()]
        told = all("fenced" in entry.marks for entry in entries) and not world.stopped_on_stage()
        if world.later:
            return False
        if world.server.job_state != "active":
            return told and not world.executing
        return told and all(world.status(task) == "Success" for task in world.server.tasks)

    await until(is_done, world.limit_s, every_s=2.0)
    for agent in agents:
        agent.drain.request(ErrorKind.DRAINED, "the test is over")
    if world.watch.found or world.overlaps:
        return
    assert await asyncio.gather(*lives) == [0] * len(agents)
