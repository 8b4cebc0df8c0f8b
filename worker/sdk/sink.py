"""Where what a handler tells goes."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Sink"]


class Sink(Protocol):
    """Where a context's tellings go: the agent, or an author's unit test."""

    def progress(self, ratio: float, message: str | None) -> None:
        """Take the progress so far."""

    def log(self, message: str, level: str, fields: dict[str, Any]) -> None:
        """Take one line of the log."""

    def artifact(self, path: str, name: str, content_type: str | None) -> None:
        """Take a file that the run made."""

    def secret(self, value: str) -> None:
        """Take a text that must not be shown."""

    def checkpoint(self, value: Any) -> None:
        """Take the token from which a later attempt may go on."""

    def usage(self, told: dict[str, Any]) -> None:
        """Take what the run has consumed outside of its processes; see `Context.usage`."""
