"""Whether a server answers: whoever waits after failures is told when it does so again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from worker.api.errors import ApiError, RateLimited, Unknown

__all__ = ["Reach"]

FAILING_MAX: Final = 1024  # requests known to fail; of an outage any of them shows the end


class Reach:
    """What the requests of one agent show of its way to the server; shared by all its connections.

    The server is back when a request is answered that failed the last time. One that fails by itself,
    beside others that never did, shows neither an outage nor its end.
    """

    def __init__(self) -> None:
        """Know of no failure."""
        self.returns = 0  # how often the server came back so far
        self._failing: set[str] = set()
        self._returned = asyncio.Event()  # replaced each time that it was set

    @property
    def is_failing(self) -> bool:
        """Tell whether something failed since the server was seen to come back."""
        return bool(self._failing)

    def failed(self, what: str, error: ApiError) -> None:
        """Know that a request, named by method and path, brought this error."""
        if isinstance(error, Unknown):
            if len(self._failing) < FAILING_MAX:
                self._failing.add(what)
        elif error.is_documented and not isinstance(error, RateLimited):
            self.answered(what)  # the API itself refuses it: it is there

    def answered(self, what: str) -> None:
        """Know that a request was answered."""
        if what in self._failing:
            self._failing.clear()
            self.returns += 1
            self._returned.set()
            self._returned = asyncio.Event()

    def returned(self) -> Coroutine[Any, Any, object]:
        """Wait until the server comes back, counted from the call on; for ever if it never does."""
        return self._returned.wait()
