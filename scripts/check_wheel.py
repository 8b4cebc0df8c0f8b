"""Tell whether a wheel holds what it must, and nothing that stays at home."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

__all__ = ["faults", "main"]

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("worker", "handlers", "server", "millhand_pytest")
SHIPPED = {".py", ".pyi", ".typed", ".sql", ".html", ".css", ".js", ".svg", ".json", ".glb", ".md", ".wasm"}


def expected() -> set[str]:
    """Return the paths of the working tree's packages that a wheel carries."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files if path.suffix in SHIPPED}


def faults(names: set[str]) -> list[str]:
    """Return what is wrong with the list of a wheel's members, a sentence each."""
    found = [f"lacks {name}" for name in sorted(expected() - names)]
    found += [f"lacks {package}/py.typed" for package in PACKAGES if f"{package}/py.typed" not in names]
    for name in sorted(names):
        top = PurePosixPath(name).parts[0]
        if top not in PACKAGES and not top.endswith(".dist-info"):
            found.append(f"carries {name}")
    return found


def main(arguments: list[str]) -> int:
    """Check the wheel named by the one argument; return the exit code."""
    wheel = Path(arguments[0])
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wrong = faults(names)
    size_kib = wheel.stat().st_size // 1024
    print(
        "\n".join(f"wheel: {fault}" for fault in wrong)
        or f"wheel: {len(names)} files, {size_kib} KiB, complete"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
