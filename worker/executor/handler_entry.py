"""One handler of this machine, as it is known without being imported, and one source that offers none."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

__all__ = ["HandlerEntry", "Installed", "SourceProblem"]


class HandlerEntry(Struct, frozen=True, kw_only=True):
    """One handler of this machine."""

    type: str
    target: str  # "module:attribute"; or a module or "/path/file.py", where it is found by its type
    source: str  # where it comes from, for people: a distribution, module or file
    distribution: str | None = None  # the name of the package that declares it; None: a module or file
    doc: str = ""
    schema: dict[str, Any] | None = None  # JSON Schema of its parameters; None: not described (yet)
    options: dict[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()  # names of those that it asks for
    problem: str | None = None  # why it cannot run here: a dependency is missing, …
    is_unavailable: bool = (
        False  # the problem is no fault: this machine lacks what it needs, as its author says
    )
    traceback: str | None = None  # of its author's code, with the problem

    @property
    def is_broken(self) -> bool:
        """Whether something is wrong with it, beyond what this machine lacks."""
        return self.problem is not None and not self.is_unavailable

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return self.doc.partition("\n")[0]


class SourceProblem(Struct, frozen=True):
    """A package, module, file or folder that offers nothing because something is wrong with it."""

    source: str
    message: str
    traceback: str | None = None


class Installed(Struct, frozen=True):
    """The handlers of installed packages, and the packages that offer none though they want to."""

    entries: tuple[HandlerEntry, ...] = ()  # one a type, sorted by it
    problems: tuple[SourceProblem, ...] = ()
    version: str | None = None  # millhand's own; None: it is not installed
