"""Where an entry of the journal stands, in one word for people."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from worker.reporting.records import DELIVERED_MARK, Entry

__all__ = ["KEPT", "EntryState", "outcome_of", "reason_of", "state_of", "told_marks", "why_mark"]

KEPT: Final = frozenset({"fenced", "reduced", "refused"})  # marks of outcomes that stay for a person
WHY: Final = "why|"  # how a mark starts that says why
WHY_CHARS_MAX: Final = 300


class EntryState(StrEnum):
    """What is open of a run."""

    CLAIMED = "claimed"  # claimed or about to be; it may have started a moment ago
    RUNNING = "running"  # it has told what it used
    ENDED = "ended"  # its files are not stored yet
    ON_ITS_WAY = "on its way"  # its outcome is sent until the server takes it
    FENCED = "fenced"  # the run was given to somebody else, or is gone; the outcome counts nowhere
    REDUCED = "reduced"  # the server has the outcome without its results
    REFUSED = "refused"  # the server takes no form of it

    @property
    def needs_a_person(self) -> bool:
        """Tell whether the agent does nothing more about it."""
        return self.value in KEPT


def state_of(entry: Entry) -> EntryState:
    """Return where an entry stands."""
    for state in (EntryState.FENCED, EntryState.REFUSED, EntryState.REDUCED):
        if state.value in entry.marks:
            return state
    if not entry.has_outcome:
        return EntryState.RUNNING if entry.usage is not None or entry.pid else EntryState.CLAIMED
    is_told = entry.terminal is not None and DELIVERED_MARK in entry.marks
    return EntryState.ENDED if entry.ended is not None or is_told else EntryState.ON_ITS_WAY


def outcome_of(entry: Entry) -> dict[str, Any] | None:
    """Return how the run ended: the body of its terminal report; None where it has not."""
    return entry.terminal if entry.terminal is not None else entry.ended


def why_mark(error: Exception) -> str:
    """Return the mark that keeps what the server said."""
    return WHY + str(error)[:WHY_CHARS_MAX]


def reason_of(entry: Entry) -> str | None:
    """Return why an outcome stays, as the server said it last; None where nobody noted it."""
    return next((mark.removeprefix(WHY) for mark in reversed(entry.marks) if mark.startswith(WHY)), None)


def told_marks(entry: Entry) -> frozenset[str]:
    """Return the marks with which an outcome stays, and why."""
    return KEPT | {mark for mark in entry.marks if mark.startswith(WHY)}
