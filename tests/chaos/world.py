"""A server, agents behind proxies, and eyes on everything that they write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.chaos.book import Book, Line
from tests.chaos.http1 import Kind, Message
from tests.chaos.journals import Journal, Written
from tests.chaos.processes import LEASE_S, TOKEN, Agent, Server, free_port, groups_of, reap_strays
from tests.chaos.proxy import Exchange, Proxy
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig

__all__ = ["LIMIT_S", "World", "until", "world"]

LIMIT_S: Final = 120.0  # a bound for a hang, not a measure
LOOK_S: Final = 0.003
REST_S: Final = 20.0  # for what is left of killed agents to be ended, on a busy machine


class Watcher:
    """What the world tells of its agents; the trap of a round is one."""

    async def on_exchange(self, exchange: Exchange, phase: str) -> None:
        """Look at a request, in each of its phases."""

    async def on_written(self, written: Written) -> None:
        """Look at something new in a journal."""

    async def on_line(self, line: Line) -> None:
        """Look at a new line of a child."""


class World:
    """Everything that lives in one folder. Made by `world`."""

    def __init__(self, folder: Path, agents: int, api: JobsApi, server: Server) -> None:
        """Take the server, which is up; agents start with `open`."""
        self.folder = folder
        self.server = server
        self.api = api
        self.book = Book(folder)
        self.proxies = {name: Proxy(name, server.port, self) for name in "abcdef"[:agents]}
        self.agents: dict[str, Agent] = {}
        self.journals: dict[str, Journal] = {}
        self.watcher = Watcher()
        self.early: list[str] = []  # requests that were sent before they were written down
        self._later: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start the agents."""
        for name, proxy in self.proxies.items():
            await proxy.open()
            self.agents[name] = Agent(name, self.folder, proxy.url)
            self.journals[name] = Journal(name, self.agents[name].state / "journal")
        await self.mend()

    async def mend(self) -> None:
        """Start whatever is dead, let everything through, and wait until all are up."""
        await asyncio.gather(*self._later)
        for proxy in self.proxies.values():
            proxy.mend()
        await self.have_server()
        for agent in self.agents.values():
            if not agent.life:
                agent.start()
        for agent in self.agents.values():
            await until(agent.is_up, f"agent {agent.name} does not start")

    async def have_server(self) -> None:
        """Start the server unless it lives, and wait until it answers."""
        if not self.server.is_up():
            self.server.kill()
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
        """Look at journals and at the children's record until cancelled."""
        while True:
            for journal in self.journals.values():
                await self._tell(journal.read())
            for line in self.book.read():
                await self.watcher.on_line(line)
            await asyncio.sleep(LOOK_S)

    async def _tell(self, new: list[Written]) -> None:
        for written in new:
            await self.watcher.on_written(written)

    # as the proxies' director

    def life_of(self, agent: str) -> int:
        """Return how often an agent was started; 0 while it is dead."""
        return self.agents[agent].life

    async def sent(self, exchange: Exchange) -> None:
        """See that what is claimed and what has ended was written down before."""
        if exchange.kind in (Kind.CLAIM, Kind.END):
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

    async def _must_be_written(self, exchange: Exchange) -> None:
        journal, is_end = self.journals[exchange.agent], exchange.kind is Kind.END
        target = exchange.request.start.split(" ")[1].partition("?")[0]
        run_id = target.rpartition("/")[2] if is_end else exchange.request.json().get("id", "")
        if not journal.has(run_id, is_outcome=is_end):
            await self._tell(journal.read(is_sure=True))
        if not journal.has(run_id, is_outcome=is_end):
            self.early.append(f"{exchange.agent}: {exchange.kind} of run {run_id}")

    # the end

    def strays(self) -> list[str]:
        """Reap what has ended; return what lives and is neither server nor agent."""
        ours = self.server.pids.union(*(agent.pids for agent in self.agents.values()))
        return [f"process {one.pid}: {one.command[:200]}" for one in reap_strays(ours)]

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
        self.server.kill()


async def settled(look: Callable[[], list[str]], limit_s: float = REST_S) -> list[str]:
    """Return what is found, once there is nothing or it does not get less in time."""
    until_mono = time.monotonic() + limit_s
    while (found := look()) and time.monotonic() < until_mono:  # noqa: ASYNC110 - of other processes
        await asyncio.sleep(0.05)
    return found


async def until(condition: Callable[[], Any], otherwise: str, limit_s: float = LIMIT_S) -> Any:
    """Wait until something holds; return it."""
    give_up_mono = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < give_up_mono, otherwise
        await asyncio.sleep(0.02)
    return found


@asynccontextmanager
async def world(folder: Path, agents: int, lease_s: float = LEASE_S) -> AsyncIterator[World]:
    """Give a world that is up; it is killed at the end, if it has not left by itself."""
    server = Server(folder, free_port(), lease_s)
    async with open_api(ApiConfig(url=server.url, token=TOKEN)) as api:
        it = World(folder, agents, api, server)
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
            await settled(it.strays)
