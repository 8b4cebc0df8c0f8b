"""Handlers that installed packages declare as entry points, known by their metadata alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from worker.executor.handler_entry import HandlerEntry, Installed, SourceProblem
from worker.executor.metadata import Package, installed_packages, section_of

__all__ = ["GROUP", "installed_handlers", "normal_name"]

GROUP: Final = "millhand.handlers"  # of entry points: task type = module:function
OURS: Final = "millhand"
NAMELESS: Final = "a package without a name"


def installed_handlers(found: Iterable[Package] | None = None) -> Installed:
    """Return the handlers that installed packages declare; nothing of them is imported.

    Of several packages with one type, millhand's own wins; among others nobody does, since their order is
    chance.

    Args:
        found: instead of the packages of this environment; of two of one name the first counts.
    """
    offers: dict[str, list[HandlerEntry]] = {}
    problems: list[SourceProblem] = []
    own_version: str | None = None
    for name, version, text in declaring(installed_packages() if found is None else found):
        source = f"{name} {version}"
        own_version = version if name == OURS else own_version
        try:
            for type_, target in section_of(text, GROUP):
                entry = HandlerEntry(type=type_, target=target, source=source, distribution=name)
                offers.setdefault(type_, []).append(entry)
        except Exception as exc:  # noqa: BLE001 - anything may stand in the file, and the others go on
            said = f"its entry_points.txt cannot be read ({type(exc).__name__}: {exc}); {reinstall(name)}"
            problems.append(SourceProblem(source, said))
    for type_ in sorted(offers):
        offers[type_], clashes = settled(type_, offers[type_])
        problems += clashes
    return Installed(tuple(offers[type_][0] for type_ in sorted(offers)), tuple(problems), own_version)


def declaring(found: Iterable[Package]) -> Iterator[tuple[str, str, str]]:
    """Yield name, version and entry points of each that speaks of our group, the first of a name."""
    seen = set()
    for package in found:
        if GROUP not in (text := package.read_text("entry_points.txt") or ""):
            continue
        name, version = named(package)
        if normal_name(name) not in seen:
            seen.add(normal_name(name))
            yield name, version, text


def named(package: Package) -> tuple[str, str]:
    """Return name and version; importlib.metadata fails, or says None, where there are none."""
    try:
        return package.name or NAMELESS, package.version or "?"
    except KeyError:
        return NAMELESS, "?"


def normal_name(name: str) -> str:
    """Return a package's name as all its spellings have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


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
