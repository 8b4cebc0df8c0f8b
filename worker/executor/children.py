"""The child processes of an executor: started, found again for the next run, let go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from worker.executor.evidence import Evidence
from worker.executor.frames import Assign, Load
from worker.executor.leaving import Idle, LeavingChildren
from worker.executor.link import ChildLink
from worker.executor.reuse import Fate, Reuse, has_room
from worker.executor.shield import to_the_end
from worker.executor.spawn import Spawner
from worker.executor.warm import ChildKey, WarmChildren
from worker.minder.trees import has_just
from worker.sdk.cache_grant import CacheGrant
from worker.usage.readings import Left

__all__ = ["Children"]

MAX_CHARS: Final = 500  # of a reason in the log; a child may send any

log = structlog.get_logger(__name__)


class Children:
    """Every child that has no run just now; `aclose` must be awaited at last."""

    def __init__(
        self,
        spawner: Spawner,
        *,
        keep: int,
        reuse: Reuse,
        idle_s: float,
        redact: Callable[[str], str],
        inputs: Callable[[str], CacheGrant | None],
    ) -> None:
        """Take the parts.

        Args:
            spawner: starts them.
            keep: how many idle ones are kept at most.
            reuse: decides how long one serves.
            idle_s: one without a run for so long is let go.
            redact: removes secrets from lines of the log.
            inputs: says where those of a type may keep inputs.
        """
        self._spawner = spawner
        self._reuse = reuse
        self._idle_s = idle_s
        self._redact = redact
        self._inputs = inputs
        self._warm = WarmChildren(keep)
        self._leaving = LeavingChildren(redact)
        self._replaced_types: set[str] = set()  # whose reasons stand in the log

    async def get(self, key: ChildKey, assign: Assign) -> ChildLink:
        """Return a warm child, or a new one that imports its handler now.

        Raises: OSError where the system refuses.
        """
        found, useless = self._warm.take(key)
        for link in useless:
            self._leaving.let_go(link)
        if found is not None and has_room(found, assign.wished, assign.most):
            return found
        if found is not None:
            self._leaving.let_go(found)
        await self._leaving.free(key.gpus)
        link = ChildLink(await self._spawner.spawn(key.gpus), key.gpus)
        try:
            link.open()
            link.load = Load(
                key.type, key.target, link.life.minder_pid, key.gpus, self._inputs(key.type), assign.secrets
            )
        except BaseException:
            await to_the_end(link.end())
            raise
        return link

    async def fate(self, link: ChildLink, seen: Evidence, left: Left | None, type_: str) -> Fate:
        """Decide what becomes of a child; log once per type what its handler does to them.

        `left` is what was found in it at the end of its run, where somebody looked.
        """
        fate, fault = await self._reuse.fate(link, seen, left, lambda: self._is_alone(link, left))
        if fault is not None and type_ not in self._replaced_types:
            self._replaced_types.add(type_)
            log.warning("child.replaced", type=type_, pid=link.pid, reason=self._redact(fault[:MAX_CHARS]))
        return fate

    def settle(self, key: ChildKey, link: ChildLink, fate: Fate) -> None:
        """Keep a child or let it go, as was decided; one that was ended is forgotten."""
        if fate is Fate.KEEP:
            self._keep(key, link)
        elif fate is Fate.LEAVE:
            self._leaving.let_go(link)

    def let_idle_go(self) -> None:
        """Let every child go that is kept for a later run."""
        for link in self._warm.take_all():
            self._leaving.let_go(link)

    async def aclose(self) -> None:
        """End every child."""
        self.let_idle_go()
        await self._leaving.aclose()

    async def _is_alone(self, link: ChildLink, left: Left | None) -> bool:
        try:
            kept = () if link.ready is None else link.ready.processes
            listed = None if left is None else left.child_pids
            is_alone = has_just(link.pid, kept) if listed is None else listed == frozenset(kept)
            return is_alone and not await self._spawner.has_strangers()
        except OSError:  # it cannot be looked at now
            return False

    def _keep(self, key: ChildKey, link: ChildLink) -> None:
        link.at_rest = link.at_rest or Idle(self._redact, lambda: self._on_idle_change(link))
        link.listener = link.at_rest
        link.idle_mono = link.loop.time()
        if link.idle_end is None:  # one timer goes on from run to run
            self._look_later(link, link.idle_mono)
        for gone in self._warm.put(key, link):
            self._leaving.let_go(gone)

    def _look_later(self, link: ChildLink, since_mono: float) -> None:
        """See to it that a child goes that had no run since then, and will have none."""
        link.idle_end = link.loop.call_at(since_mono + self._idle_s, self._on_idle_time, link, since_mono)

    def _on_idle_time(self, link: ChildLink, since_mono: float) -> None:
        """Let a child go that was idle for too long; one that has a run now is looked at after that."""
        link.idle_end = None
        if link.idle_mono <= since_mono:
            self._on_idle_change(link)
        elif link in self._warm:
            self._look_later(link, link.idle_mono)

    def _on_idle_change(self, link: ChildLink) -> None:
        """Let a child go that ended while it was idle, or was so for too long."""
        if self._warm.remove(link):
            self._leaving.let_go(link)
