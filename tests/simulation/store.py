"""A store and a spool in virtual time: the store may be away, refuse, or lose its answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random

from worker.reporting.records import Entry
from worker.storage.file import SpooledFile
from worker.storage.spool import Spool
from worker.storage.store import FileGone, StoreError, StoreRefused

Check = Callable[[], Awaitable[None]]


class VirtualStore:
    """What everybody's store holds, and how it is today."""

    def __init__(self, random: Random) -> None:
        """Start empty and well."""
        self.random = random
        self.files: dict[str, SpooledFile] = {}  # by URL
        self.puts: list[str] = []  # each try that arrived
        self.is_away = False
        self.refuses = False
        self.takes_s = 0.02  # at most, for one file
        self.lost_ratio = 0.0  # of answers
        self.at_once = 0
        self.at_once_max = 0


class MortalStore:
    """The store as one life of an agent reaches it."""

    def __init__(self, world: VirtualStore, check: Check) -> None:
        """`check` is passed only by the living."""
        self.world, self.check = world, check

    def url_of(self, run_id: str, name: str) -> str:
        """Return where a file is."""
        return f"https://store.test/{run_id}/{name}"

    async def store(self, run_id: str, file: SpooledFile, path: Path) -> None:
        """Take a file."""
        world = self.world
        await self.check()
        world.at_once += 1
        world.at_once_max = max(world.at_once, world.at_once_max)
        try:
            await asyncio.sleep(world.random.uniform(0.0, world.takes_s))
        finally:
            world.at_once -= 1
        await self.check()
        url = self.url_of(run_id, file.name)
        world.puts.append(url)
        if world.is_away:
            raise StoreError(f"{url}: nobody there")
        if world.refuses:
            raise StoreRefused(f"{url}: 403")
        assert world.files.get(url, file) == file, "other bytes at the same place"
        world.files[url] = file
        if world.random.random() < world.lost_ratio:
            raise StoreError(f"{url}: the answer got lost")

    async def aclose(self) -> None:
        """Have nothing to close."""


class VirtualSpool(Spool):
    """The spool as one life of an agent reaches it; what it holds outlives that."""

    def __init__(self, held: dict[str, SpooledFile], check: Check, limit_bytes: int) -> None:
        """`held` is the machine's disk."""
        super().__init__(Path("/spool"), limit_bytes)
        self.held, self.check = held, check

    def sweep(self, entries: Mapping[str, Entry]) -> None:
        """Remove what no entry names, as a start does."""
        known = {file.path for entry in entries.values() for file in entry.files}
        for path in set(self.held) - known:
            del self.held[path]
        for path in sorted(known & set(self.held)):
            self._count(path.partition("/")[0])

    async def take_made(self, run_id: str, count: int) -> tuple[SpooledFile, ...]:
        """Take files that a run made, as the executor does; each takes a step."""
        files = []
        for at in range(count):
            await self.check()
            content = f"{run_id} {at}".encode()
            file = SpooledFile(
                name=f"file-{at}",
                path=f"{run_id}/{at}",
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                content_type="text/plain",
            )
            self.held[file.path] = file
            files.append(file)
        self._count(run_id)
        return tuple(files)

    async def remove(self, run_id: str) -> None:
        """Remove the files of a run."""
        await self.check()
        for path in [path for path in self.held if path.startswith(f"{run_id}/")]:
            del self.held[path]
        self._held_bytes.pop(run_id, None)

    def path_of(self, file: SpooledFile) -> Path:
        """Return where a file lies. Raises FileGone where it does not."""
        if file.path not in self.held:
            raise FileGone(f"file {file.name} is gone")
        return Path("/spool") / file.path

    def _count(self, run_id: str) -> None:
        sizes = [file.size_bytes for path, file in self.held.items() if path.startswith(f"{run_id}/")]
        if sizes:
            self._held_bytes[run_id] = sum(sizes)
