"""Write the pages that are made from the code; with ``--check`` tell which are out of step instead."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scripts.reference.api import kit_page, sdk_page
from scripts.reference.command_line import command_line_page
from scripts.reference.settings import page as settings_page

__all__ = ["main", "out_of_step", "pages"]

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
INDEX: Final = """\
# Reference

Made from the code by `make reference`; `make check` tells when it is out of step.

- [SDK](sdk.md): what a handler imports
- [Kit for tests](testing.md): what its tests import, and the fixtures of pytest
- [Command line](command-line.md): every command and option
- [Settings](../settings.md): variables, keys of the configuration file, exit codes
"""


def pages() -> dict[str, str]:
    """Return every page by its path below docs/."""
    return {
        "reference/README.md": INDEX,
        "reference/sdk.md": sdk_page(),
        "reference/testing.md": kit_page(),
        "reference/command-line.md": command_line_page(),
        "settings.md": settings_page(),
    }


def out_of_step(made: Mapping[str, str], docs: Path = DOCS) -> list[str]:
    """Return the pages that are not as the code would have them, and those that nothing makes."""
    stale = [name for name, text in made.items() if read(docs / name) != text]
    found = {path.relative_to(docs).as_posix() for path in (docs / "reference").glob("**/*.md")}
    return sorted([*stale, *(found - made.keys())])


def read(path: Path) -> str | None:
    """Return the text of a page; None where there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str]) -> int:
    """Write the pages, or check them; return the exit code."""
    made = pages()
    if "--check" in arguments:
        stale = out_of_step(made)
        print(
            "\n".join(f"docs/{name} is out of step: make reference" for name in stale) or "reference: in step"
        )
        return 1 if stale else 0
    for name, text in made.items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(text, encoding="utf-8")
    print(f"reference: {len(made)} pages written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
