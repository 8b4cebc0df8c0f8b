"""Run a program confined: for what is started without the minder, such as asking a module what it offers.

`command` makes the command line; it starts this module as ``python -I -S -c "…" <root> <wish> <program> …``.
"""

from __future__ import annotations

import json
import os
import sys

from worker.minder.confine import confine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["command", "main"]

CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from worker.minder.confined import main; main(sys.argv[2:])"
)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REFUSED = 126  # as a shell says that a program could not be run


def command(wish: Mapping[str, Any], program: Sequence[str], *, python: str = sys.executable) -> list[str]:
    """Return the command line that runs a program under a wish of `worker.minder.confine`."""
    return [python, "-I", "-S", "-c", CODE, ROOT, json.dumps(dict(wish)), *program] if wish else [*program]


def main(arguments: Sequence[str]) -> None:
    """Confine this process, and become the program; says on stderr why not."""
    try:
        confine(json.loads(arguments[0]))
        os.execv(arguments[1], list(arguments[1:]))  # noqa: S606 - it is what this is for
    except OSError as exc:
        os.write(2, f"{exc.strerror or exc}\n".encode())
        sys.exit(REFUSED)
