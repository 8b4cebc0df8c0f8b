"""Whether a run is asked to stop."""

from __future__ import annotations

__all__ = ["StopSignal"]


class StopSignal:
    """Whether the run is asked to stop, why and by when. Set once, read from any thread."""

    def __init__(self) -> None:
        """Start without a request."""
        self.kind: str | None = None
        self.message = ""
        self.deadline_mono: float | None = None

    def set(self, kind: str, message: str, deadline_mono: float | None) -> None:
        """Take a request; the first reason stays, a nearer deadline replaces a later one."""
        if self.deadline_mono is None or (deadline_mono is not None and deadline_mono < self.deadline_mono):
            self.deadline_mono = deadline_mono
        if self.kind is None:
            self.message = message
            self.kind = kind
