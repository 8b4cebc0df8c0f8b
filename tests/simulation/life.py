"""One life of an agent, and what of the world it reaches: nothing after its end, as after SIGKILL."""

from __future__ import annotations

import asyncio

import httpx

from tests.simulation.network import FaultyNetwork
from tests.unit.reporting.memory import MemoryDisk, MemoryIO

__all__ = ["Life", "MortalIO", "MortalTransport"]


class Life:
    """One life of an agent. After its end it reaches neither network nor disk."""

    def __init__(self, dies_at: int | None = None) -> None:
        """Be alive; `dies_at` is the step that is not made any more."""
        self.is_over = asyncio.Event()
        self.steps = 0  # tries to reach something outside
        self._dies_at = dies_at
        self._moves = asyncio.Event()
        self._moves.set()

    async def check(self) -> None:
        """Go on only while alive and not frozen; the dead wait for ever."""
        self.steps += 1
        if self.steps == self._dies_at:
            self.is_over.set()
        while not self._moves.is_set():
            await self._moves.wait()
        while self.is_over.is_set():  # noqa: ASYNC110 - nothing ever wakes the dead
            await asyncio.sleep(1e6)

    def freeze(self) -> None:
        """Have the agent stand still, as after SIGSTOP; its minder goes on."""
        self._moves.clear()

    def thaw(self) -> None:
        """Let it go on."""
        self._moves.set()


class MortalTransport(httpx.AsyncBaseTransport):
    """The network as one life of an agent reaches it."""

    def __init__(self, network: FaultyNetwork, sender: str, life: Life) -> None:
        """Lead to the network while the life lasts."""
        self.network, self.sender, self.life = network, sender, life

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request of the living."""
        await self.life.check()
        response = await self.network.carry(self.sender, request)
        await self.life.check()
        return response  # type: ignore[return-value]  # a stand-in has what our client reads


class MortalIO(MemoryIO):
    """The disk as one life of an agent reaches it."""

    def __init__(self, disk: MemoryDisk, life: Life) -> None:
        """Lead to the disk while the life lasts."""
        super().__init__(disk)
        self.life = life

    async def create(self, name: str) -> None:
        """Create for the living."""
        await self.life.check()
        await super().create(name)

    async def append(self, name: str, offset: int, block: bytes) -> None:
        """Write for the living."""
        await self.life.check()
        await super().append(name, offset, block)

    async def fdatasync(self, name: str) -> None:
        """Sync for the living."""
        await self.life.check()
        await super().fdatasync(name)

    async def remove(self, name: str) -> None:
        """Remove for the living."""
        await self.life.check()
        await super().remove(name)
