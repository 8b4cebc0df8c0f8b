"""Who is told what happens in a world."""

from __future__ import annotations

from tests.chaos.book import Line
from tests.chaos.journals import Written
from tests.chaos.proxy import Exchange

__all__ = ["Watcher"]


class Watcher:
    """What the world tells of its agents; the trap of a round is one."""

    @property
    def is_hasty(self) -> bool:
        """Tell whether it waits for a line that counts for some milliseconds."""
        return False

    async def on_exchange(self, exchange: Exchange, phase: str) -> None:
        """Look at a request, in each of its phases."""

    def over(self, exchange: Exchange) -> None:
        """Look at a request of which nothing more comes."""

    async def on_written(self, written: Written) -> None:
        """Look at something new in a journal."""

    async def on_line(self, line: Line) -> None:
        """Look at a new line of a child."""
