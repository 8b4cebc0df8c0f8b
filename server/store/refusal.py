"""Why a command is refused, in words that do not know of HTTP."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "DatabaseError",
    "DatabaseUnreachable",
    "OutcomeUnknown",
    "Reason",
    "Refused",
    "StoreBusy",
    "StoreFailed",
    "TookTooLong",
]


class DatabaseError(Exception):
    """The database cannot be used: what it is, why, and what to do."""


class DatabaseUnreachable(DatabaseError):  # noqa: N818 - a state, and it may pass
    """The database does not answer, or lets nobody in; it may do so later."""


class Reason(StrEnum):
    """What kind of refusal it is; the routes turn it into a status."""

    NOT_FOUND = "not_found"  # nothing of that id in this organisation
    INVALID = "invalid"  # a field names something that does not exist or does not fit
    CONFLICT = "conflict"  # right in itself, but the state of things does not allow it


class Refused(Exception):  # noqa: N818 - not an error of ours: an answer to who asked
    """The store changed nothing, because of what the command asks or of how things are.

    Attributes:
        reason: the kind.
        code: the word for programs, as in ``run_conflict``.
        message: what was refused, on what, why.
    """

    def __init__(self, reason: Reason, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code
        self.message = message


class StoreBusy(Exception):  # noqa: N818 - a state, and it passes
    """The queue of writes is full; nothing was tried. Ask again shortly."""


class StoreFailed(Exception):  # noqa: N818
    """The database could not make the write durable (disk full, I/O error); nothing was changed."""


class TookTooLong(StoreFailed):
    """The database took longer than a statement may, and was stopped; nothing was changed."""

    def __init__(self, what: str = "The database took too long for it, and was stopped") -> None:
        super().__init__(what)


class OutcomeUnknown(StoreFailed):
    """The database went away during the commit: the write is durable, or nothing was changed.

    Every command may be sent again: a run by its id, identity or last report, others by what they set.
    """
