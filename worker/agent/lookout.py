"""Look again and again at what may block, in a thread of its own: only news wakes the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Lookout"]

T = TypeVar("T")


class Lookout(Generic[T]):
    """One thing that is looked at. A look by the loop would wake that twice, and two threads of its pool."""

    def __init__(
        self,
        look: Callable[[], T],
        *,
        is_news: Callable[[T], bool],
        take: Callable[[T], None],
        on_problem: Callable[[Exception], None],
        every_s: float,
        late_s: float | None = None,
    ) -> None:
        """Take how to look; `take` and `on_problem` are called on the event loop, the others in the thread.

        Args:
            look: may block, and must not raise.
            is_news: whether `take` is to have what was found.
            take: has it.
            on_problem: hears that no thread could be had, or that a look takes longer than it may.
            every_s: from the end of a look to the next one.
            late_s: what a look may take; one that takes longer goes on, is told within twice as much, and
                is the only one. None: nobody asks.
        """
        self._look = look
        self._is_news = is_news
        self._take = take
        self._on_problem = on_problem
        self._every_s = every_s
        self._late_s = late_s
        self._began_mono: float | None = None  # the look that goes on

    async def run(self) -> None:
        """Look until cancelled."""
        stop = threading.Event()
        try:
            while not self._start(stop):  # noqa: ASYNC110 - no event tells that there are threads
                await asyncio.sleep(self._every_s)
            if self._late_s is None:
                await asyncio.Event().wait()
            while True:
                await asyncio.sleep(self._late_s or 0.0)
                self._tell_late(self._late_s or 0.0)
        finally:
            stop.set()

    def _start(self, stop: threading.Event) -> bool:
        given = (stop, asyncio.get_running_loop())
        try:
            threading.Thread(target=self._work, args=given, name="millhand-lookout", daemon=True).start()
        except (RuntimeError, MemoryError) as exc:  # the system has no thread to give
            self._on_problem(exc)
            return False
        return True

    def _tell_late(self, late_s: float) -> None:
        began_mono = self._began_mono
        if began_mono is not None and time.monotonic() - began_mono >= late_s:
            self._on_problem(TimeoutError(f"no answer within {late_s:g} s"))

    def _work(self, stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            self._began_mono = time.monotonic()
            found = self._look()
            self._began_mono = None
            if not stop.is_set() and self._is_news(found):
                with contextlib.suppress(RuntimeError):  # the loop was closed just now
                    loop.call_soon_threadsafe(self._tell, found, stop)
            if stop.wait(self._every_s):
                return

    def _tell(self, found: T, stop: threading.Event) -> None:
        if not stop.is_set():
            self._take(found)
