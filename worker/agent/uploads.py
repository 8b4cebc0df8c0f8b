"""The files of one run on their way from the spool into the store, however long it takes."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final

import structlog
from msgspec import Struct, field

from worker.api.retry import Backoff
from worker.reporting.journal import Journal
from worker.reporting.records import STORED_MARK, Entry
from worker.storage.file import SpooledFile, StoredFile, stored
from worker.storage.spool import Spool
from worker.storage.store import FileGone, Store, StoreError, StoreRefused

__all__ = ["AT_ONCE", "Uploads"]

AT_ONCE: Final = 4  # files that are stored at the same time, of all runs together
AWAY_BASE_S: Final = 1.0  # waits between tries where the store is away: from here …
AWAY_CAP_S: Final = 60.0  # … up to here
REFUSALS_MAX: Final = 5  # in a row, until a person is told and the waits are long
REFUSED_S: Final = 600.0  # between tries then: rights and buckets are mended by people
TOLD_EVERY: Final = 20  # tries, of a store that stays away
log = structlog.get_logger()


class Round(Struct):
    """One try of all files of a run that are not stored."""

    left: deque[SpooledFile]
    stored: int = 0
    gone: dict[str, str] = field(default_factory=dict)
    refused: StoreError | None = None  # one of them, for the message
    away: StoreError | None = None  # ends the round: the next file would fare no better

    @property
    def error(self) -> StoreError | None:
        """Why there is something left."""
        return self.away or self.refused


class Uploads:
    """Store the files of runs; what is stored is noted in the journal, and not stored again."""

    def __init__(self, *, store: Store, spool: Spool, journal: Journal, random: Random) -> None:
        """Take the parts."""
        self._store = store
        self._spool = spool
        self._journal = journal
        self._random = random
        self._places = asyncio.Semaphore(AT_ONCE)

    async def store_all(self, run_id: str, tell: Callable[[str], None]) -> dict[str, str]:
        """Store all files of a run; return those that are gone from the spool, and why.

        Args:
            run_id: a run whose entry in the journal has files.
            tell: is told why it takes long.
        """
        entry = self._journal.entries[run_id]
        gone: dict[str, str] = {}
        left = [file for file in entry.files if not self._is_stored(entry, file)]
        waits = Waits(self._random)
        while left:
            tried = await self._try(run_id, left)
            gone |= tried.gone
            if tried.error is not None:
                tell(f"files are not stored yet: {tried.error}")
                await asyncio.sleep(waits.after(tried))
            entry = self._journal.entries.get(run_id, entry)
            left = [file for file in left if file.name not in gone and not self._is_stored(entry, file)]
        return gone

    def told(self, entry: Entry, gone: dict[str, str]) -> list[StoredFile]:
        """Return the files of a run as its results tell them; what is gone is left out."""
        return [
            stored(file, self._url(entry, file), is_stored=self._is_stored(entry, file))
            for file in entry.files
            if file.name not in gone
        ]

    def whole(self, run_id: str, files: tuple[SpooledFile, ...]) -> list[StoredFile]:
        """Return the files of a run as its results will tell them once all are stored."""
        return [stored(file, self._store.url_of(run_id, file.name)) for file in files]

    async def _try(self, run_id: str, files: list[SpooledFile]) -> Round:
        """Try each file once, some beside each other; a store that is away ends it."""
        tried = Round(deque(files))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(files))):
                group.create_task(self._take_turns(run_id, tried))
        return tried

    async def _take_turns(self, run_id: str, tried: Round) -> None:
        while tried.left and tried.away is None:
            file = tried.left.popleft()
            try:
                await self._store_one(run_id, file)
                tried.stored += 1
            except FileGone as error:
                log.error("file.gone", run_id=run_id, error=str(error))
                tried.gone[file.name] = str(error)
            except StoreRefused as error:
                tried.refused = error
            except StoreError as error:
                tried.away = error

    async def _store_one(self, run_id: str, file: SpooledFile) -> None:
        async with self._places:
            try:
                await self._store.store(run_id, file, self._spool.path_of(file))
            except (StoreError, FileGone):
                raise
            except Exception as error:  # a fault of ours must not lose a file: it is tried again
                log.exception("store.fault", run_id=run_id)
                raise StoreError(f"file {file.name} could not be stored: {type(error).__name__}") from error
        await self._journal.mark(run_id, mark_of(self._store.url_of(run_id, file.name)))

    def _url(self, entry: Entry, file: SpooledFile) -> str:
        return self._store.url_of(entry.run_id, file.name)

    def _is_stored(self, entry: Entry, file: SpooledFile) -> bool:
        """Tell whether a file is stored where the store is now: an earlier life may have had another."""
        return mark_of(self._url(entry, file)) in entry.marks


class Waits:
    """How long to wait after a try that left something, and when to tell a person."""

    def __init__(self, random: Random) -> None:
        """Start patient."""
        self._random = random
        self._away = Backoff(random, AWAY_BASE_S, AWAY_CAP_S)
        self._tries = 0
        self._refusals = 0

    def after(self, tried: Round) -> float:
        """Return the seconds until the next try."""
        if tried.stored:
            self._tries = self._refusals = 0
            self._away.reset()
        self._tries += 1
        self._refusals = self._refusals + 1 if tried.away is None else 0
        is_for_people = self._refusals >= REFUSALS_MAX
        wait_s = self._away.next_s(tried.error.retry_after_s if tried.error else None)
        if is_for_people:
            wait_s = self._random.uniform(REFUSED_S / 2, REFUSED_S)
        self._tell(tried, is_for_people)
        return wait_s

    def _tell(self, tried: Round, is_for_people: bool) -> None:
        if is_for_people and (self._refusals - REFUSALS_MAX) % TOLD_EVERY == 0:
            log.error(
                "files.refused",
                error=str(tried.error),
                hint="mend the store or its access; the files stay in the spool, and are tried again",
            )
        elif self._tries % TOLD_EVERY == 1:
            log.warning("files.not_stored", error=str(tried.error), hint="tried again, with growing waits")


def mark_of(url: str) -> str:
    """Return what the journal notes of a file that is stored at a URL."""
    return f"{STORED_MARK}|{hashlib.sha256(url.encode()).hexdigest()[:12]}"
