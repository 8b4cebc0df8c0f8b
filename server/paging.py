"""Pages far down a list, without stepping over all before them: each begins where the one before it ended.

The documented API counts pages, so the page after one that was just asked for is found by where that one
ended. For who walks through a list every page costs the same, and nothing is left out when records
before it went away meanwhile. Who jumps, or asks another server, has the rows before the page stepped over.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from datetime import datetime
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import structs

from server.store.queries import JobQuery, Page, Place, RunQuery, TaskQuery
from server.store.records import JobRecord, RunAnswer, RunRecord, TaskAnswer, TaskRecord
from server.store.store import Store
from server.times import to_ms
from worker.clock import Clock

__all__ = ["NEAR", "paged"]

NEAR: Final = 1_000  # records; before that a page is exactly what its number says, and costs a millisecond
KNOWN_S: Final = 60.0  # how long it is known where a page ended
MOST_KNOWN: Final = 10_000  # ends of pages; the oldest are forgotten first

Query = JobQuery | TaskQuery | RunQuery
QueryT = TypeVar("QueryT", JobQuery, TaskQuery, RunQuery)


class _PagedStore:
    """Everything but long lists is the store's own."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self.apply, self.apply_each, self.principal = store.apply, store.apply_each, store.principal
        self._clock = clock
        self._ends: OrderedDict[bytes, tuple[Place, float]] = OrderedDict()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def jobs(self, query: JobQuery) -> list[JobRecord]:
        """Return a page of jobs."""
        found = await self._store.jobs(self._placed(query))
        self._remember(query, len(found), found[-1] if found else None)
        return found

    async def tasks(self, query: TaskQuery) -> list[TaskAnswer]:
        """Return a page of tasks."""
        found = await self._store.tasks(self._placed(query))
        self._remember(query, len(found), found[-1].task if found else None)
        return found

    async def runs(self, query: RunQuery) -> list[RunAnswer]:
        """Return a page of runs."""
        found = await self._store.runs(self._placed(query))
        self._remember(query, len(found), found[-1].run if found else None)
        return found

    def _placed(self, query: QueryT) -> QueryT:
        """Return the query with the place at which its page begins, where that is known."""
        if query.page.offset < NEAR:
            return query
        place, until_mono = self._ends.get(_key(query, query.page.number), (None, 0.0))
        if place is None or self._clock.mono() > until_mono:
            return query
        return structs.replace(query, page=structs.replace(query.page, after=place))

    def _remember(self, query: Query, count: int, last: JobRecord | TaskRecord | RunRecord | None) -> None:
        page = query.page
        if page.offset + page.size < NEAR or not page.has_places:
            return
        key = _key(query, page.number + 1)
        if last is None or count < page.size:  # the list ends here now, whatever it did before
            self._ends.pop(key, None)
            return
        place = Place(
            created_at=to_ms(datetime.fromisoformat(last.created_at)),
            id=last.id,
            priority=last.priority if isinstance(last, TaskRecord) else 0,
        )
        self._ends[key] = (place, self._clock.mono() + KNOWN_S)
        self._ends.move_to_end(key)
        while len(self._ends) > MOST_KNOWN:
            self._ends.popitem(last=False)


def _key(query: Query, number: int) -> bytes:
    """Return what names a page: who is hidden in it for the moment does not move it.

    A digest, of the same size for every query: one may name a thousand jobs.
    """
    page = Page(number=number, size=query.page.size, sort=query.page.sort)
    if isinstance(query, TaskQuery):
        query = structs.replace(query, page=page, hidden=frozenset())
    else:
        query = structs.replace(query, page=page)
    return hashlib.blake2b(msgspec.json.encode((type(query).__name__, query)), digest_size=16).digest()


def paged(store: Store, clock: Clock) -> Store:
    """Return the store, with long lists that are walked page by page at the same cost for each."""
    return cast(Store, _PagedStore(store, clock))
