"""Tell whether the locks are in step with what pyproject.toml and *.in ask for; needs no network.

A lock is in step when each wanted requirement is pinned to a version that it allows, every pin has a hash,
and no line names a place (an index, a host, a folder).
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["faults", "main"]

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")


def wanted_by_project() -> list[Requirement]:
    """Return what the project and its extras need at run time."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for group in (project["dependencies"], *extras) for text in group]


def wanted_by(file: str) -> list[Requirement]:
    """Return what a requirements/*.in names, and the files that it includes."""
    lines = (
        line.partition("#")[0].strip() for line in (ROOT / "requirements" / file).read_text().splitlines()
    )
    found: list[Requirement] = []
    for line in filter(None, lines):
        included = line.removeprefix("-r ")
        found += wanted_by(included) if included != line else [Requirement(line)]
    return found


def wanted_by_build() -> list[Requirement]:
    """Return what building the wheel needs."""
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    return [*map(Requirement, backend), *wanted_by("build.in")]


def faults(lock: str, wanted: list[Requirement]) -> list[str]:
    """Return what is wrong with the text of a lock, a sentence each."""
    entries = lock.replace("\\\n", " ").splitlines()
    pins = {canonicalize_name(m["name"]): m["version"] for line in entries if (m := PIN.match(line))}
    found = [f"names a place: {line[:80]}" for line in entries if "://" in line or line.startswith("--")]
    found += [f"has no hash: {line[:80]}" for line in entries if PIN.match(line) and "--hash=" not in line]
    for requirement in wanted:
        version = pins.get(canonicalize_name(requirement.name))
        if version is None:
            found.append(f"lacks {requirement}")
        elif not requirement.specifier.contains(version, prereleases=True):
            found.append(f"pins {requirement.name} {version}, but {requirement} is wanted")
    return found


def main() -> int:
    """Check every lock; return the exit code."""
    project, build = wanted_by_project(), wanted_by_build()
    expected = {
        "dev.txt": [*project, *build, *wanted_by("dev.in")],
        "image.txt": [*project, *wanted_by("image.in")],
        "build.txt": build,
        "sbom.txt": wanted_by("sbom.in"),
    }
    wrong = [
        f"requirements/{name} {fault}"
        for name, wanted in expected.items()
        for fault in faults((ROOT / "requirements" / name).read_text(), wanted)
    ]
    print(
        "\n".join([*wrong, "run: make lock"])
        if wrong
        else "locks: in step with pyproject.toml and requirements/*.in"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
