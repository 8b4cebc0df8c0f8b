"""Which task types this machine can run, and where their handlers are; none is imported to know it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from worker.executor.describer import Describer
from worker.executor.description import Described, Description
from worker.executor.handler_entry import HandlerEntry, Installed, SourceProblem
from worker.executor.installed import installed_handlers
from worker.executor.loading import split_target

__all__ = ["Catalogue", "HandlerEntry", "SourceProblem", "open_catalogue"]


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

    def secrets_of(self, type_: str, /) -> tuple[str, ...]:
        """Return the names of the secrets that the handler of a type asks for."""
        entry = self.entries.get(type_)
        return () if entry is None else entry.secrets

    def with_entry(self, entry: HandlerEntry) -> Catalogue:
        """Return a catalogue with one more handler; an earlier one of its type gives way, with a warning."""
        before = self.entries.get(entry.type)
        text = before and f"type {entry.type!r}: {entry.target} replaces {before.target} ({before.source})"
        warned = self.with_warning(text) if text else self
        return replace(warned, entries=self.entries | {entry.type: entry})

    def with_warning(self, text: str) -> Catalogue:
        """Return a catalogue with one more warning."""
        return replace(self, warnings=(*self.warnings, text))

    def with_problem(self, problem: SourceProblem) -> Catalogue:
        """Return a catalogue that knows of one more problem."""
        return replace(self, problems=(*self.problems, problem))


async def open_catalogue(
    handlers: Sequence[str], describer: Describer, installed: Iterable[HandlerEntry] | Installed | None = None
) -> Catalogue:
    """Return what this machine can run.

    Args:
        handlers: names of modules, paths of ``.py`` files and of folders of them, beside what is
            installed; a later one wins over an earlier one of the same type.
        describer: asks children for what must be imported to be known.
        installed: what was found to be installed, or what shall count as that; None: it is looked for.

    Never raises for a source that is broken: see `Catalogue.problems` and `HandlerEntry.problem`.
    """
    found = installed_handlers() if installed is None else as_installed(installed)
    asked = [entry for entry in found.entries if entry.problem is None]
    catalogue = Catalogue(
        entries={entry.type: entry for entry in found.entries if entry.problem is not None},
        problems=found.problems,
    )
    sources: list[str] = []
    for item in handlers:
        files, problem = expand(item)
        sources += files
        if problem is not None:
            catalogue = catalogue.with_problem(problem)
    answers = await describer.describe([*dict.fromkeys([*(entry.target for entry in asked), *sources])])
    for entry in asked:
        catalogue = with_installed(catalogue, entry, answers[entry.target])
    for source in dict.fromkeys(sources):
        catalogue = with_source(catalogue, source, answers[source])
    return catalogue


def as_installed(given: Iterable[HandlerEntry] | Installed) -> Installed:
    """Return handlers as those of installed packages."""
    return given if isinstance(given, Installed) else Installed(tuple(given))


def with_installed(catalogue: Catalogue, entry: HandlerEntry, answer: Description) -> Catalogue:
    """Return a catalogue with an installed handler and what a child said of it."""
    if answer.error is not None:
        problem = answer.error if answer.is_unavailable else with_cure(entry, answer)
        lame = replace(
            entry, problem=problem, traceback=answer.traceback, is_unavailable=answer.is_unavailable
        )
        return catalogue.with_entry(lame)
    said = declared(entry, answer.handlers)
    if said is None:
        types = ", ".join(sorted(one.type for one in answer.handlers)) or "none"
        problem = f"{entry.target} has no handler of type {entry.type!r}; its types: {types}"
        return catalogue.with_entry(replace(entry, problem=problem))
    if said.type != entry.type:
        text = f"{entry.source} declares the type {entry.type!r} for {entry.target}, whose @handler says"
        catalogue = catalogue.with_warning(f"{text} {said.type!r}; the declared one counts")
    described = replace(
        entry,
        doc=said.doc,
        schema=said.parameters,
        options=said.options,
        secrets=said.secrets,
        problem=said.problem,
    )
    return catalogue.with_entry(described)


def with_cure(entry: HandlerEntry, answer: Description) -> str:
    """Return why an installed handler cannot be had, and what to do; its author may say that already."""
    from worker.executor.packages import cure_for  # noqa: PLC0415 - 1.5 MiB, and hardly ever needed

    error = answer.error or ""
    if entry.distribution is None or "pip install" in error:
        return error
    cure = cure_for(entry.distribution, answer.missing)
    return f"{error}; {cure}" if cure else error


def declared(entry: HandlerEntry, said: Sequence[Described]) -> Described | None:
    """Return what was said of an entry's handler: the one that it names, else the one of its type."""
    if split_target(entry.target)[1] is not None:
        return said[0] if said else None
    return next((one for one in said if one.type == entry.type), None)


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
        secrets=said.secrets,
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
