"""The pictures of jobs' tasks: drawn once for all who look, and kept, so that a click means what was seen."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from msgspec import Struct, field

from server.dashboard.matrix import MOST_CELLS, layout_of, png
from server.dashboard.orders import MADE, SLOWEST, Arranged, as_made, failed_first, slowest_first
from server.store.store import Store
from server.times import to_ms
from worker.clock import Clock

__all__ = ["MOST_READ", "Picture", "Pictures", "Version"]

SHARE: Final = 20  # drawing one job takes one part of so many of the time
MANY: Final = 5_000  # tasks; of fewer each change is drawn
MOST_KEPT: Final = 32  # pictures, of a megabyte and a half at most
MOST_READ: Final = 1_000_000  # tasks among which those that failed are looked for


class Version(Struct, frozen=True):
    """Which state of a job a picture shows: of how many tasks, and as of which change."""

    tasks: int
    changed_at: str


class Picture(Struct, frozen=True):
    """A job of an organisation, in an order."""

    org_id: str
    job_id: str
    order: str


class Drawn(Struct):
    """The cells of a picture, and the files that were made of them."""

    cells: Arranged
    files: dict[int, bytes] = field(default_factory=dict)  # by width


class Pictures:
    """What was drawn lately."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Know nothing yet."""
        self._store = store
        self._clock = clock
        self._drawn: OrderedDict[tuple[Picture, Version], Drawn] = OrderedDict()
        self._newest: dict[Picture, tuple[Version, float]] = {}  # and until when it is good enough
        self._turn = asyncio.Lock()

    def version(self, picture: Picture, tasks: int, changed_at: str) -> Version:
        """Return which version a page shows now: the newest, or one that took long, a little while ago."""
        known = self._newest.get(picture)
        if known is not None and self._clock.mono() < known[1]:
            return known[0]
        return Version(min(tasks, MOST_READ), changed_at)

    async def file(self, picture: Picture, version: Version, width: int) -> bytes:
        """Return a picture as a file; whoever asks for the same one later gets the same one."""
        async with self._turn:
            begun = self._clock.mono()
            drawn = await self._get(picture, version)
            if (file := drawn.files.get(width)) is None:
                file = drawn.files[width] = await asyncio.to_thread(png, drawn.cells.states, width)
                self._rest(picture, version, self._clock.mono() - begun)
            return file

    async def task_at(self, picture: Picture, version: Version, width: int, x: int, y: int) -> int | None:
        """Return which task was clicked, counted as they were made; where the picture is forgotten, now."""
        async with self._turn:
            drawn = await self._get(picture, version)
        return drawn.cells.task_at(layout_of(len(drawn.cells.states), width).index_at(x, y))

    async def _get(self, picture: Picture, version: Version) -> Drawn:
        key = (picture, version)
        if (drawn := self._drawn.get(key)) is None:
            drawn = self._drawn[key] = Drawn(await self._arranged(picture, version.tasks))
        self._drawn.move_to_end(key)
        while len(self._drawn) > MOST_KEPT:
            self._drawn.popitem(last=False)
        return drawn

    def _rest(self, picture: Picture, version: Version, took_s: float) -> None:
        """Draw a large job no more for a while."""
        now_mono = self._clock.mono()
        self._newest = {one: known for one, known in self._newest.items() if known[1] > now_mono}
        if version.tasks >= MANY and picture not in self._newest:  # another width of it changes nothing
            self._newest[picture] = version, now_mono + SHARE * took_s

    async def _arranged(self, picture: Picture, tasks: int) -> Arranged:
        org_id, job_id = picture.org_id, picture.job_id
        if picture.order == SLOWEST:
            now_ms = to_ms(self._clock.now())
            times = await self._store.task_times(org_id, job_id, now_ms, min(tasks, MOST_CELLS))
            return await asyncio.to_thread(slowest_first, times)
        most = min(tasks, MOST_CELLS if picture.order == MADE else MOST_READ)
        states = await self._store.task_states(org_id, job_id, most)
        return as_made(states) if picture.order == MADE else await asyncio.to_thread(failed_first, states)
