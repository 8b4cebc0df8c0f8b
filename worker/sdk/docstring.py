"""What an author's docstring says of each parameter."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Final

__all__ = ["split_doc"]

ARGUMENT: Final = re.compile(r"\s{1,4}(\w+)(?: \([^)]*\))?: *(.*)")  # a parameter of a Google docstring


def split_doc(doc: str, section: str = "Args") -> tuple[str, dict[str, str]]:
    """Return a docstring without its `Args:` (or other) section, and what that says of each name."""
    before, found, after = doc.partition(f"{section}:\n")
    if not found:
        return doc.strip(), {}
    lines = list(takewhile(lambda line: not line or line[0].isspace(), after.splitlines()))
    rest = "\n".join(after.splitlines()[len(lines) :])
    meanings: dict[str, str] = {}
    name = ""
    for line in lines:
        if match := ARGUMENT.match(line):
            name = match[1]
            meanings[name] = match[2]
        elif name and line.strip():
            meanings[name] += f" {line.strip()}"
    return f"{before.strip()}\n\n{rest.strip()}".strip(), meanings
