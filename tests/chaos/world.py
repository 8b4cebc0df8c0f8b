"""A server, agents behind proxies, and eyes on everything that they write."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.chaos.book import Book
from tests.chaos.http1 import Kind, Message, is_offer
from tests.chaos.journals import Journal, Written
from tests.chaos.processes import TOKEN, Agent, groups_of, kill_all, reap_strays
from tests.chaos.proxy import Exchange, Proxy
from tests.chaos.servers import AnyServer, Foreign
from tests.chaos.waits import settled, until
from tests.chaos.watcher import Watcher
from tests.faults.processes import Process
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig

__all__ = ["Shape", "World", "world"]

LOOK_S: Final = 0.002
HASTY_LOOK_S: Final = 0.0005
JOURNAL_LOOKS: Final = 5  # what would follow an intent or an outcome is held until they are read


class Shape(NamedTuple):
    """How large a world is."""

    agents: int
    slots: int  # of each


class World:
    """Everything that lives in one folder. Made by `world`."""

    def __init__(
        self, folder: Path, shape: Shape, api: JobsApi, server: AnyServer, neighbours: set[World],
        *, gathers: bool = False,
    ) -> None:  # fmt: skip
        """Take the server; agents start with `open`. Neighbours are all worlds of this process."""
        self._gathers = gathers
        self._neighbours = neighbours
        self._slots = shape.slots
        self.folder = folder
        self.server = server
        self.api = api
        self.book = Book(folder)
        self.proxies = {name: Proxy(name, server.port, self) for name in "abcdef"[: shape.agents]}
        self.agents: dict[str, Agent] = {}
        self.journals: dict[str, Journal] = {}
        self.watcher = Watcher()
        self.early: list[str] = []  # requests that were sent before they were written down
        self.fallen: list[str] = []  # who ended though nobody killed it
        self._later: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start the agents."""
        for name, proxy in self.proxies.items():
            await proxy.open()
            self.agents[name] = Agent(name, self.folder, proxy.url, self._slots, gathers=self._gathers)
            self.journals[name] = Journal(name, self.agents[name].state / "journal")
        await self.mend()

    async def mend(self) -> None:
        """Start whatever is dead, let everything through, and wait until all are up and nothing is held."""
        await asyncio.gather(*self._later)
        for proxy in self.proxies.values():
            proxy.mend()
        await self.have_server()
        for agent in self.agents.values():
            if agent.fell is not None:
                self.fallen.append(f"agent {agent.name} ended by itself, with {agent.fell}")
            if not agent.life:
                agent.start()
        for agent in self.agents.values():
            await until(agent.is_up, f"agent {agent.name} does not start")
        await until(lambda: all(proxy.is_calm for proxy in self.proxies.values()), "a proxy holds a request")

    async def have_server(self) -> None:
        """Start the server unless it lives, and wait until it answers."""
        if self.server.fell is not None:
            self.fallen.append(f"the server ended by itself, with {self.server.fell}")
        if not self.server.is_up():
            self.server.start()
        await until(self.server.is_up, "the server does not start")

    def later(self, delay_s: float, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something after a while; `mend` waits for it."""

        async def wait() -> None:
            await asyncio.sleep(delay_s)
            await what()

        task = asyncio.create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def watch(self) -> None:
        """Look at the children's record, which nothing waits for, and less often at journals."""
        for look in itertools.count():
            for line in self.book.read():
                await self.watcher.on_line(line)
            if self.watcher.is_hasty:
                await asyncio.sleep(HASTY_LOOK_S)
                continue
            for journal in self.journals.values() if look % JOURNAL_LOOKS == 0 else ():
                await self._tell(journal.read())
            await asyncio.sleep(LOOK_S)

    async def _tell(self, new: list[Written]) -> None:
        for written in new:
            await self.watcher.on_written(written)

    @property
    def is_foreign(self) -> bool:
        """Tell whether the server knows but the documented API."""
        return isinstance(self.server, Foreign)

    # as the proxies' director

    def life_of(self, agent: str) -> int:
        """Return how often an agent was started; 0 while it is dead."""
        return self.agents[agent].life

    async def sent(self, exchange: Exchange) -> None:
        """See that what is claimed, requeued and what has ended was written down before."""
        if exchange.kind in (Kind.CLAIM, Kind.REQUEUE, Kind.END):
            await self._must_be_written(exchange)
        await self.watcher.on_exchange(exchange, "sent")

    async def taken(self, exchange: Exchange, answer: Message) -> None:
        """Pass a phase on; a poll without tasks is nobody's step."""
        is_empty = exchange.kind is Kind.POLL and not answer.json().get("tasks")
        if not is_empty:
            await self.watcher.on_exchange(exchange, "taken")

    async def answered(self, exchange: Exchange) -> None:
        """Pass a phase on."""
        await self.watcher.on_exchange(exchange, "answered")

    def over(self, exchange: Exchange) -> None:
        """Pass the end on."""
        self.watcher.over(exchange)

    async def _must_be_written(self, exchange: Exchange) -> None:
        if is_offer(exchange.request):  # of a task that nobody knows: it is written down once one has come
            return
        journal = self.journals[exchange.agent]
        if not journal.holds(exchange.kind, exchange.run_id):
            await self._tell(journal.read(is_sure=True))
        if not journal.holds(exchange.kind, exchange.run_id):
            self.early.append(f"{exchange.agent}: {exchange.kind} of run {exchange.run_id}")

    async def is_journalled(self, agent: str, run_id: str, since_ns: int) -> bool:
        """Tell whether the outcome of a run that ended at some moment is in its agent's journal by now."""
        journal = self.journals[agent]
        if journal.is_untouched_since(since_ns):
            return False
        await self._tell(journal.read(is_sure=True))
        return journal.has(run_id, is_outcome=True)

    def batches(self) -> tuple[int, int]:
        """Return how many requests carried several writes: that were answered, and that were harmed."""
        proxies = self.proxies.values()
        return sum(one.batches for one in proxies), sum(one.batches_harmed for one in proxies)

    def offers(self) -> int:
        """Return how many offers of runs brought a task."""
        return sum(one.offers for one in self.proxies.values())

    # the end

    def strays(self) -> list[str]:
        """Return what lives and is neither server nor agent, nor below one, of any world."""
        return [f"process {one.pid}: {one.command[:200]}" for one in self._reap()]

    def _reap(self) -> list[Process]:
        """Reap what has ended; what another world left counts, too: nobody can tell whose it is."""
        worlds = self._neighbours | {self}
        agents = [agent for it in worlds for agent in it.agents.values()]
        ours = set().union(*(it.server.pids for it in worlds), *(agent.pids for agent in agents))
        return reap_strays(ours, [pid for agent in agents if agent.life for pid in agent.pids])

    async def end_strays(self) -> None:
        """Kill what is left in spite of everything, lest it counts in other worlds, too."""
        if await settled(self.strays):
            kill_all(self._reap())
            await settled(self.strays)

    async def leave(self) -> list[str]:
        """Have the agents drain; return everything that is left of them."""
        await self.mend()
        codes = await asyncio.gather(*(asyncio.to_thread(agent.stop) for agent in self.agents.values()))
        left = [
            f"agent {name} exits with {code}" for name, code in zip(self.agents, codes, strict=True) if code
        ]
        left += await settled(self.strays)
        ids = [(agent.state / "agent-id").read_text().split()[0] for agent in self.agents.values()]
        left += await asyncio.to_thread(groups_of, ids)
        return left + await settled(lambda: self.files() + self.strange_files())

    def strange_files(self) -> list[str]:
        """Return what lies beside them; the folder is theirs for temporary files, too."""
        own = ("executions.log", "failed-", "jobs.sqlite3", "server.log")
        found = [path for path in self.folder.iterdir() if not path.name.startswith(own)]
        return [str(path) for path in found if path.name not in self.agents]

    def files(self) -> list[str]:
        """Return what lies in the folders of runs, and in the spools."""
        folders = [agent.state / name for agent in self.agents.values() for name in ("runs", "spool")]
        return [str(path) for folder in folders if folder.is_dir() for path in folder.iterdir()]

    def kill(self) -> None:
        """End everything at once: after a failure, or when nothing is left anyway."""
        for task in self._later:
            task.cancel()
        for agent in self.agents.values():
            agent.kill()
        self.server.end()


@asynccontextmanager
async def world(
    folder: Path, shape: Shape, server: AnyServer, neighbours: set[World], *, gathers: bool = False
) -> AsyncIterator[World]:
    """Give a world that is up; it is killed at the end, if it has not left by itself."""
    async with open_api(ApiConfig(url=server.url, token=TOKEN)) as api:
        it = World(folder, shape, api, server, neighbours, gathers=gathers)
        neighbours.add(it)
        watching = asyncio.create_task(it.watch())
        try:
            await it.have_server()
            await it.open()
            yield it
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            for proxy in it.proxies.values():
                await proxy.aclose()
            it.kill()
            await it.end_strays()
            neighbours.discard(it)
