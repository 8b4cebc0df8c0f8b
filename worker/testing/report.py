"""What was found out about a handler: one verdict a promise, for people and for programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

__all__ = ["Check", "HandlerReport", "Verdict"]


class Verdict(StrEnum):
    """How a check ended: ``ok``, ``FAILED``, or ``not shown`` where nothing speaks for it or against it."""

    OK = "ok"
    FAILED = "FAILED"
    NOT_SHOWN = "not shown"  # nothing speaks against it, and nothing was seen that speaks for it


class Check(Struct, frozen=True):
    """One promise, and what was seen of it.

    Attributes:
        name: of the promise, as ``stops when asked``.
        verdict: whether it is kept.
        details: what was seen, for people; several lines where several things are wrong.
    """

    name: str
    verdict: Verdict
    details: str


class HandlerReport(Struct, frozen=True):
    """How a handler behaves. Its text is the report; a failed one is an error of a test by `assert_ok`.

    Attributes:
        type: the task type of the handler.
        checks: one a promise, in the order in which they were looked at. Where it did not even run, only
            that and its secrets were.
    """

    type: str
    checks: tuple[Check, ...]

    @property
    def is_ok(self) -> bool:
        """Tell whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict is Verdict.FAILED)

    @property
    def not_shown(self) -> tuple[Check, ...]:
        """The checks for which nothing could be seen, with the reason."""
        return tuple(check for check in self.checks if check.verdict is Verdict.NOT_SHOWN)

    def assert_ok(self, *, all_shown: bool = False) -> None:
        """Raise where a check failed; with `all_shown` also where nothing could be seen.

        Raises:
            AssertionError: with the whole report.
        """
        if self.failed or (all_shown and self.not_shown):
            raise AssertionError(f"\n{self}")

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        checks = [
            {"name": one.name, "verdict": str(one.verdict), "details": one.details} for one in self.checks
        ]
        return {"type": self.type, "ok": self.is_ok, "checks": checks}

    def __str__(self) -> str:
        """Return the report as a table; further lines of details stand below their first."""
        width = max((len(check.name) for check in self.checks), default=0)
        indent = "\n" + " " * (width + 15)
        lines = [
            f"  {check.verdict:<9}  {check.name:<{width}}  {indent.join(check.details.splitlines())}"
            for check in self.checks
        ]
        return "\n".join([f"conformance of handler {self.type!r}", *lines])
