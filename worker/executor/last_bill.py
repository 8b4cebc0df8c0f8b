"""The last figures that were seen of a run: its bill where a fault of ours leaves none of the end."""

from __future__ import annotations

from msgspec.structs import replace

from worker.executor.executor import Event, EventSink, UsageEvent
from worker.usage.usage import Usage, unmeasured

__all__ = ["LastBill"]


class LastBill:
    """Pass a run's events on, and keep what they say of its usage."""

    def __init__(self, on_event: EventSink) -> None:
        """Start with nothing seen."""
        self._on_event = on_event
        self._usage: Usage | None = None

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, UsageEvent):
            self._usage = event.usage
        self._on_event(event)

    def keep(self, usage: Usage) -> None:
        """Keep the usage of a run that is about to be told as a whole."""
        self._usage = usage

    def after_fault(self, reason: str) -> Usage:
        """Return what is known of a run that a fault of ours ended, with the fault beside every figure."""
        if self._usage is None:
            return unmeasured(reason)
        reasons = dict.fromkeys(self._usage.methods, reason) | self._usage.reasons
        return replace(self._usage, complete=False, reasons=reasons)
