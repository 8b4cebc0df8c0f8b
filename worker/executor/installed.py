"""Handlers that installed packages declare as entry points, known by their metadata alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Final

from msgspec import Struct

from worker.executor.handler_entry import HandlerEntry, SourceProblem
from worker.executor.packages import normal_name

__all__ = ["GROUP", "Installed", "installed_handlers"]

GROUP: Final = "millhand.handlers"  # of entry points: task type = module:function
OURS: Final = "millhand"


class Installed(Struct, frozen=True):
    """The handlers of installed packages, and the packages that offer none though they want to."""

    entries: tuple[HandlerEntry, ...] = ()  # one a type, sorted by it
    problems: tuple[SourceProblem, ...] = ()


def installed_handlers(found: Iterable[Distribution] | None = None) -> Installed:
    """Return the handlers that installed packages declare; nothing of them is imported.

    Of several packages with one type, millhand's own wins; among others nobody does, since their order is
    chance.

    Args:
        found: instead of the distributions of this environment; of two of one name the first counts.
    """
    offers: dict[str, list[HandlerEntry]] = {}
    problems: list[SourceProblem] = []
    for name, version, distribution in declaring(distributions() if found is None else found):
        source = f"{name} {version}"
        try:
            for point in points_of(distribution):
                entry = HandlerEntry(type=point.name, target=point.value, source=source, distribution=name)
                offers.setdefault(point.name, []).append(entry)
        except Exception as exc:  # noqa: BLE001 - anything may stand in the file, and the others go on
            text = f"its entry_points.txt cannot be read ({type(exc).__name__}: {exc}); {reinstall(name)}"
            problems.append(SourceProblem(source, text))
    for type_ in sorted(offers):
        offers[type_], clashes = settled(type_, offers[type_])
        problems += clashes
    return Installed(tuple(offers[type_][0] for type_ in sorted(offers)), tuple(problems))


def declaring(found: Iterable[Distribution]) -> Iterator[tuple[str, str, Distribution]]:
    """Yield name, version and distribution of each that speaks of our group, the first of a name."""
    seen = set()
    for distribution in found:
        if GROUP not in (distribution.read_text("entry_points.txt") or ""):
            continue
        about = distribution.metadata  # its type has no `get`
        name = about["Name"] if "Name" in about else "a package without a name"  # noqa: SIM401
        if normal_name(name) not in seen:
            seen.add(normal_name(name))
            yield name, about["Version"] if "Version" in about else "?", distribution  # noqa: SIM401


def points_of(distribution: Distribution) -> Iterator[EntryPoint]:
    """Yield the entry points of our group."""
    yield from distribution.entry_points.select(group=GROUP)


def settled(type_: str, offers: list[HandlerEntry]) -> tuple[list[HandlerEntry], list[SourceProblem]]:
    """Return the one entry of a type, and the problems of those that cannot have it."""
    if len(offers) == 1:
        return offers, []
    ours = [entry for entry in offers if entry.distribution == OURS]
    others = sorted((one for one in offers if one.distribution != OURS), key=lambda one: one.source)
    if ours:
        return ours, [SourceProblem(other.source, taken(type_, other)) for other in others]
    sources = " and ".join(entry.source for entry in others)
    removals = " or ".join(f"pip uninstall {entry.distribution}" for entry in others)
    problem = f"{sources} both declare the type {type_!r}, so that none of them runs; {removals}"
    return [HandlerEntry(type=type_, target=others[0].target, source=sources, problem=problem)], []


def taken(type_: str, other: HandlerEntry) -> str:
    """Say that a type is built in, and what to do."""
    module = other.target.partition(":")[0]
    return (
        f"its type {type_!r} is one that millhand has itself, which goes on running; declare it under "
        f'another name ([project.entry-points."{GROUP}"] in its pyproject.toml), or pip uninstall '
        f"{other.distribution}. MILLHAND_HANDLERS={module} replaces a built-in handler on purpose"
    )


def reinstall(name: str) -> str:
    """Say how a package is put right, or taken away."""
    return f"pip install --force-reinstall {name}, or pip uninstall {name}"
