"""Which task types this machine can run, and where their handlers are; none is imported to know it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from worker.executor.describer import Describer
from worker.executor.description import Described, Description

__all__ = ["Catalogue", "HandlerEntry", "SourceProblem", "installed_handlers", "open_catalogue"]

GROUP: Final = "millhand.handlers"  # of entry points: task type = module:function


class HandlerEntry(Struct, frozen=True, kw_only=True):
    """One handler of this machine."""

    type: str
    target: str  # "module:attribute"; or a module or "/path/file.py", where it is found by its type
    source: str  # where it comes from, for people: a distribution, module or file
    doc: str = ""
    schema: dict[str, Any] | None = None  # JSON Schema of its parameters; None: not described (yet)
    options: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None  # why it cannot run here: a dependency is missing, …
    traceback: str | None = None  # of its author's code, with the problem

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return self.doc.partition("\n")[0]


class SourceProblem(Struct, frozen=True):
    """A module, file or folder that offers nothing because something is wrong with it."""

    source: str
    message: str
    traceback: str | None = None


class Catalogue(Struct, frozen=True, kw_only=True):
    """The handlers of this machine; frozen, made by `open_catalogue`."""

    entries: dict[str, HandlerEntry] = field(default_factory=dict)  # by type, also those that cannot run
    problems: tuple[SourceProblem, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        """The task types that can run here, sorted."""
        return tuple(sorted(entry.type for entry in self.entries.values() if entry.problem is None))

    def get(self, type_: str, /) -> HandlerEntry | None:
        """Return the handler of a type that can run here; None where there is none."""
        entry = self.entries.get(type_)
        return entry if entry is not None and entry.problem is None else None

    def with_entry(self, entry: HandlerEntry) -> Catalogue:
        """Return a catalogue with one more handler; an earlier one of its type gives way, with a warning."""
        before = self.entries.get(entry.type)
        warnings = self.warnings
        if before is not None:
            text = f"type {entry.type!r}: {entry.target} replaces {before.target} ({before.source})"
            warnings = (*warnings, text)
        return replace(self, entries=self.entries | {entry.type: entry}, warnings=warnings)

    def with_problem(self, problem: SourceProblem) -> Catalogue:
        """Return a catalogue that knows of one more problem."""
        return replace(self, problems=(*self.problems, problem))


async def open_catalogue(
    handlers: Sequence[str], describer: Describer, installed: Iterable[HandlerEntry] | None = None
) -> Catalogue:
    """Return what this machine can run.

    Args:
        handlers: names of modules, paths of ``.py`` files and of folders of them, beside what is
            installed; a later one wins over an earlier one of the same type.
        describer: asks children for what must be imported to be known.
        installed: instead of the entry points of this environment.

    Never raises for a source that is broken: see `Catalogue.problems` and `HandlerEntry.problem`.
    """
    entries = list(installed_handlers() if installed is None else installed)
    catalogue = Catalogue()
    sources: list[str] = []
    for item in handlers:
        found, problem = expand(item)
        sources += found
        if problem is not None:
            catalogue = catalogue.with_problem(problem)
    answers = await describer.describe([*dict.fromkeys([*(entry.target for entry in entries), *sources])])
    for entry in entries:
        catalogue = catalogue.with_entry(with_description(entry, answers[entry.target]))
    for source in dict.fromkeys(sources):
        catalogue = with_source(catalogue, source, answers[source])
    return catalogue


def installed_handlers() -> list[HandlerEntry]:
    """Return the handlers that installed distributions declare as entry points, by metadata alone."""
    found = {}
    for point in metadata.entry_points(group=GROUP):
        dist = point.dist
        source = f"{dist.name} {dist.version}" if dist is not None else "an entry point"
        found[point.name] = HandlerEntry(type=point.name, target=point.value, source=source)
    return [found[name] for name in sorted(found)]


def with_description(entry: HandlerEntry, answer: Description) -> HandlerEntry:
    """Return an installed handler with what a child said of it."""
    if answer.error is not None or not answer.handlers:
        return replace(entry, problem=answer.error or "it has no handler", traceback=answer.traceback)
    said = answer.handlers[0]
    return replace(entry, doc=said.doc, schema=said.parameters, options=said.options, problem=said.problem)


def with_source(catalogue: Catalogue, source: str, answer: Description) -> Catalogue:
    """Return a catalogue with the handlers of a module or file."""
    if answer.error is not None:
        return catalogue.with_problem(SourceProblem(source, answer.error, answer.traceback))
    for said in answer.handlers:
        catalogue = catalogue.with_entry(entry_of(said, source))
    return catalogue


def entry_of(said: Described, source: str) -> HandlerEntry:
    """Return a described handler as an entry."""
    return HandlerEntry(
        type=said.type,
        target=said.target,
        source=source,
        doc=said.doc,
        schema=said.parameters,
        options=said.options,
        problem=said.problem,
    )


def expand(item: str) -> tuple[list[str], SourceProblem | None]:
    """Return the modules and files that an item of the setting stands for."""
    path = Path(item).expanduser()
    if path.is_dir():
        files = sorted(
            str(file.resolve()) for file in path.glob("*.py") if not file.name.startswith(("_", "."))
        )
        return files, None if files else SourceProblem(item, f"folder {path} has no .py files")
    if item.endswith(".py") or "/" in item or item.startswith("~"):
        if path.is_file() and path.suffix == ".py":
            return [str(path.resolve())], None
        return [], SourceProblem(item, f"{path} is no .py file and no folder")
    if all(part.isidentifier() for part in item.split(".")):
        return [item], None
    return [], SourceProblem(item, f"{item!r} is neither a module's name nor a path")
