"""Reasons for which nothing is claimed for a while: what runs goes on, and nothing is lost by it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

import structlog

from worker.agent.drain import Drain

__all__ = ["Holds", "Watch"]

log = structlog.get_logger()


class Holds:
    """The reasons by the name of who holds; each is told when it begins, and when it is over."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._reasons: dict[str, str] = {}
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_held(self) -> bool:
        """Tell whether nothing may be claimed."""
        return bool(self._reasons)

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why nothing may be claimed, by who holds: a live, read-only view."""
        return MappingProxyType(self._reasons)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the last reason is over."""
        self._listeners.append(listener)

    def hold(self, name: str, reason: str, hint: str) -> None:
        """Claim nothing until `name` is lifted; logged once, with what a person can do."""
        if name not in self._reasons:
            log.warning("claims.held", by=name, reason=reason, hint=hint)
        self._reasons[name] = reason

    def lift(self, name: str) -> None:
        """Let one reason be over; where it does not hold, nothing happens."""
        if self._reasons.pop(name, None) is None:
            return
        log.info("claims.resumed", was_held_by=name, still_held_by=sorted(self._reasons))
        for listener in self._listeners if not self._reasons else ():
            listener()


# Goes on beside the work until the agent has drained: it may ask for the drain, or hold claims.
Watch = Callable[[Drain, Holds], Coroutine[Any, Any, None]]
