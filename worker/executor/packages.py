"""What a package requires and lacks: the cure where its handler cannot be imported."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from worker.executor.installed import normal_name

__all__ = ["cure_for"]

# Of a line ``Requires-Dist`` (PEP 508): the name, the versions, and the extra that it belongs to.
REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;()]*)\)?")
EXTRA: Final = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


class Lack(NamedTuple):
    """A requirement that is not installed."""

    name: str
    text: str  # as pip takes it
    extra: str | None


def cure_for(package: str, missing: str | None) -> str:
    """Say what to do where the handler of an installed package cannot be imported.

    Args:
        package: the name of its distribution.
        missing: the module that was not found; None where something else went wrong.
    """
    try:
        found = distribution(package)
    except PackageNotFoundError:
        return ""
    said = f"{package} {found.version}"
    if missing is None:
        return f"{said} has to be mended, or removed: pip uninstall {package}"
    if missing in modules_of(found):
        return f"{said} is installed in part: pip install --force-reinstall {package}"
    lacks = list(lacks_of(found))
    named = [lack for lack in lacks if normal_name(lack.name) == normal_name(missing)]
    for lack in named or lacks:
        wanted = lack.text if lack.extra is None else f"{package}[{lack.extra}]"
        return f"{said} needs {lack.name}: pip install {wanted!r}"
    return f"{said} does not say that it requires {missing!r}: install it, and tell the package's author"


def lacks_of(found: Distribution) -> Iterator[Lack]:
    """Yield what a package requires and is not installed, the unconditional first.

    Conditions on the machine (``sys_platform == …``) are not looked at: this is asked only where
    something is missing.
    """
    for line in sorted(found.requires or (), key=lambda line: "extra" in line):
        match = REQUIREMENT.match(line)
        if match is not None and not is_installed(match[1]):
            extra = EXTRA.search(line)
            yield Lack(match[1], f"{match[1]}{match[2].strip()}", extra[1] if extra else None)


def modules_of(found: Distribution) -> set[str]:
    """Return the modules at the top of a package, as it was installed.

    `Distribution.files` leaves out what is missing from Python 3.12 on, and so what is asked for here.
    """
    recorded = [row[0] for row in csv.reader((found.read_text("RECORD") or "").splitlines()) if row]
    paths = [*map(PurePosixPath, recorded), *(found.files or ())]
    return {path.parts[0].removesuffix(".py") for path in paths}


def is_installed(name: str) -> bool:
    """Tell whether a package is there, in whatever version."""
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
