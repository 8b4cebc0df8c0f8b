"""Handlers of installed packages are known by metadata, and one bad package spoils no other."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution
from pathlib import Path

import pytest

from tests.unit.executor.bench import within_limit
from worker.executor import packages
from worker.executor.catalogue import Catalogue, HandlerEntry, open_catalogue
from worker.executor.describer import Describer
from worker.executor.handler_entry import Installed
from worker.executor.installed import installed_handlers
from worker.executor.packages import cure_for


def package(
    folder: Path, name: str, points: str, *, requires: Iterable[str] = (), files: Iterable[str] = ()
) -> Distribution:
    """Lay down the metadata of an installed package."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    lines = "".join(f"Requires-Dist: {one}\n" for one in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{lines}")
    (info / "entry_points.txt").write_text(f"[millhand.handlers]\n{points}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    return PathDistribution(info)


def told(found: Installed) -> dict[str, str | None]:
    """Return each type with its problem."""
    return {entry.type: entry.problem for entry in found.entries}


def test_a_type_of_two_packages_runs_for_neither(tmp_path: Path) -> None:
    """Which one is found first is chance; both are named, and what takes one away."""
    found = installed_handlers(
        [
            package(tmp_path, "one", "cut = one:cut\njoin = one:join"),
            package(tmp_path, "two", "cut = two:cut"),
        ]
    )
    problems = told(found)
    assert problems["join"] is None
    assert "one 1.0 and two 1.0 both declare the type 'cut'" in (problems["cut"] or "")
    assert "pip uninstall one or pip uninstall two" in (problems["cut"] or "")


def test_a_built_in_type_stays_built_in(tmp_path: Path) -> None:
    """Whatever the order; the other package is told how it may have its handler."""
    ours = package(tmp_path, "millhand", "sleep = handlers.sleep:sleep")
    other = package(tmp_path, "naps", "sleep = naps.long:nap\nnap = naps.long:nap")
    for order in ([ours, other], [other, ours]):
        found = installed_handlers(order)
        targets = {entry.type: entry.target for entry in found.entries}
        assert targets == {"sleep": "handlers.sleep:sleep", "nap": "naps.long:nap"}
        assert told(found) == {"sleep": None, "nap": None}
        (problem,) = found.problems
        assert problem.source == "naps 1.0"
        assert "'sleep'" in problem.message
        assert "MILLHAND_HANDLERS=naps.long" in problem.message


def test_a_package_that_is_found_twice_counts_once(tmp_path: Path) -> None:
    """An older one further back on the path is no clash, in whatever spelling of its name."""
    first = package(tmp_path / "first", "my-cuts", "cut = new:cut")
    second = package(tmp_path / "second", "My_Cuts", "cut = old:cut")
    found = installed_handlers([first, second])
    assert [entry.target for entry in found.entries] == ["new:cut"]
    assert found.problems == ()


def test_entry_points_that_cannot_be_read_spoil_nothing_else(tmp_path: Path) -> None:
    """No installer writes such a file; a disk may."""
    found = installed_handlers(
        [
            package(tmp_path, "rotten", "this is no entry point"),
            package(tmp_path, "good", "cut = good:cut"),
        ]
    )
    assert told(found) == {"cut": None}
    (problem,) = found.problems
    assert problem.source == "rotten 1.0"
    assert "pip install --force-reinstall rotten" in problem.message


def test_what_is_missing_is_named_as_pip_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A requirement, one of an extra, a part of the package itself, or something that it never required."""
    laid = package(
        tmp_path, "studio", "cut = studio:cut", files=["studio/__init__.py"],
        requires=["millhand>=0.1", "picture-lib (>=2,<3)", 'soundlib>=1 ; extra == "sound"', "click"],
    )  # fmt: skip
    known = {"studio": laid, "millhand": laid, "click": laid}

    def installed(name: str) -> Distribution:
        if name in known:
            return known[name]
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "distribution", installed)  # an environment with these, and nothing else
    assert (
        cure_for("studio", "picture_lib") == "studio 1.0 needs picture-lib: pip install 'picture-lib>=2,<3'"
    )
    assert cure_for("studio", "soundlib") == "studio 1.0 needs soundlib: pip install 'studio[sound]'"
    assert "needs picture-lib" in cure_for("studio", "other_name_of_it")
    assert cure_for("studio", "studio").endswith("in part: pip install --force-reinstall studio")
    assert "pip uninstall studio" in cure_for("studio", None)
    known["picture-lib"] = known["soundlib"] = laid
    assert "does not say that it requires 'colours'" in cure_for("studio", "colours")
    assert cure_for("never-installed", "x") == ""


def opened(*entries: HandlerEntry) -> Catalogue:
    """Open a catalogue of installed handlers."""
    found: list[Catalogue] = []

    async def scenario() -> None:
        found.append(await open_catalogue((), Describer(None), entries))

    within_limit(scenario())
    return found[0]


def test_an_entry_point_without_a_function_means_the_handler_of_its_type() -> None:
    """Not the first of the module; and there is a reason where it has none of that type."""
    samples = "tests.unit.executor.sample_handlers"
    catalogue = opened(
        HandlerEntry(type="echo", target=samples, source="samples 1.0"),
        HandlerEntry(type="no-such-type", target=samples, source="samples 1.0"),
    )
    assert catalogue.types == ("echo",)
    assert catalogue.entries["echo"].schema is not None
    assert "has no handler of type 'no-such-type'" in (catalogue.entries["no-such-type"].problem or "")


def test_a_type_that_differs_from_the_decorators_is_warned_of() -> None:
    """The declared name counts, and nobody is left to wonder."""
    catalogue = opened(HandlerEntry(type="nothing", target="handlers.noop:noop", source="others 1.0"))
    assert catalogue.types == ("nothing",)
    (warning,) = catalogue.warnings
    assert warning.startswith("others 1.0 declares the type 'nothing'")
    assert "'noop'" in warning
