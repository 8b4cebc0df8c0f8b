"""Writes that go with others in one request, and who learns what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from msgspec import Struct

from worker.api.connection import Answered, Connection
from worker.api.errors import ApiError

__all__ = ["Told", "Waiting", "Write"]

log = structlog.get_logger()


class Write(Struct, eq=False):
    """A write that goes with others."""

    method: str
    path: str
    body: bytes
    prefer: str | None


class Waiting(Write, eq=False):
    """One that is waited for; its answer is None where it is to be made alone."""

    answer: asyncio.Future[Answered | None]

    @property
    def is_given_up(self) -> bool:
        """Tell whether nobody waits any more."""
        return self.answer.done()

    def tell(self, answer: Answered | None) -> None:
        """Let who waits go on, if anybody does."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: ApiError) -> None:
        """Let who waits know why there is no answer."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Told(Write, eq=False):
    """One that nobody waits for: whoever made it is told."""

    alone: Connection  # by which it is made alone
    on_answer: Callable[[Answered | ApiError], None]

    @property
    def is_given_up(self) -> bool:
        """Tell that it is sent in any case."""
        return False

    def tell(self, answer: Answered) -> None:
        """Tell; what goes wrong there is no matter of the writes that went along."""
        self._tell(answer)

    def fail(self, error: ApiError) -> None:
        """Tell why there is no answer."""
        self._tell(error)

    def _tell(self, answer: Answered | ApiError) -> None:
        try:
            self.on_answer(answer)
        except Exception as fault:
            log.error("agent.fault", exc_info=fault)
