"""What failed in a job, as its page shows it: by kind, then by what is said."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from server.store.outcomes import FailureGroup, Failures
from worker.api.wire import ErrorKind

__all__ = ["KindOfFailure", "Saying", "by_kind"]

MOST_SAYINGS: Final = 10  # of a kind
MEANINGS: Final = {
    ErrorKind.HANDLER_ERROR: "the handler raised",
    ErrorKind.INVALID_PARAMETERS: "the parameters do not fit the handler",
    ErrorKind.TIMEOUT: "it took longer than it may",
    ErrorKind.NO_PROGRESS: "it told of no progress for longer than it may",
    ErrorKind.CANCELLED: "its job was stopped by a person",
    ErrorKind.PREEMPTED: "the machine was taken away",
    ErrorKind.DRAINED: "the agent was told to stop",
    ErrorKind.OUT_OF_MEMORY: "there was not enough memory",
    ErrorKind.CRASHED: "the process ended without a word",
    ErrorKind.WORKER_LOST: "the agent died or fell silent",
    ErrorKind.LOST_CLAIM: "another run of the task was first",
    ErrorKind.INTERNAL: "a fault of millhand itself",
}


class Saying(Struct, frozen=True):
    """Failed runs that say the same, without the kind."""

    text: str
    group: FailureGroup

    @property
    def is_folded(self) -> bool:
        """Tell whether they differ in numbers, ids or paths."""
        return self.group.pattern != self.group.newest_line


class KindOfFailure(Struct, frozen=True, kw_only=True):
    """The failures of one kind, the most frequent first."""

    name: str  # empty where runs tell none
    meaning: str
    runs: int
    sayings: list[Saying]  # at most `MOST_SAYINGS`
    further: int  # runs of the kind that say something else

    @property
    def is_cut(self) -> bool:
        """Tell whether there is more than is shown."""
        return self.further > 0


def by_kind(failures: Failures) -> list[KindOfFailure]:
    """Return the kinds that the groups of failures have; the most frequent first."""
    kinds: dict[str, list[Saying]] = {}
    for group in failures.groups:
        kind, text = parted(group.pattern)
        kinds.setdefault(kind, []).append(Saying(text, group))
    made = [kind_of(name, sayings) for name, sayings in kinds.items()]
    return sorted(made, key=lambda kind: -kind.runs)


def kind_of(name: str, sayings: list[Saying]) -> KindOfFailure:
    """Return a kind of what is said by runs of it."""
    runs, shown = (sum(one.group.runs for one in some) for some in (sayings, sayings[:MOST_SAYINGS]))
    meaning = MEANINGS.get(ErrorKind(name), "") if name in set(ErrorKind) else ""
    return KindOfFailure(
        name=name, meaning=meaning, runs=runs, sayings=sayings[:MOST_SAYINGS], further=runs - shown
    )


def parted(line: str) -> tuple[str, str]:
    """Return the kind of an error, and what it says; a line whose beginning is no word has no kind."""
    kind, colon, text = line.partition(": ")
    if colon and kind.replace("_", "").isalnum():
        return kind, text
    return (line, "") if line in set(ErrorKind) else ("", line)
