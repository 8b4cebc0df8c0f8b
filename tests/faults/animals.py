"""The animals of the zoo: hostile handlers in files, and what the end of each must be.

A file is read, never imported here: some would end this process.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

__all__ = ["ZOO", "Animal", "End", "animals", "read_animal"]

ZOO = Path(__file__).with_name("zoo")


class End(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What the run of an animal must come to, and how it is run; a file's `END` as a literal."""

    kind: str | None = None  # of the error; None: Success
    exit_code: int | None = None
    signal: str | None = None
    retryable: bool = False
    says: tuple[str, ...] = ()  # what the message holds
    says_not: tuple[str, ...] = ()
    traceback: tuple[str, ...] = ()
    value: dict[str, Any] | None = None  # what was returned, if that matters
    log: tuple[str, ...] = ()  # what the last lines of the log hold
    log_not: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # names of the artifacts
    tasks: tuple[dict[str, Any], ...] = ({},)  # parameters, run by run; `END` is that of the last
    first_kind: str | None = None  # of the error of the runs before the last
    stop: str | None = None  # the kind of a stop that is asked for at the first progress
    grace_s: float = 0.2  # of that stop
    limit_s: float = 20.0  # from its start to its end, on a slow machine
    resists: bool = False  # its folder cannot be removed, and is put aside for a person
    world: str = "here"  # "here": in this process's executor; else the test that runs it by itself
    weight: int = 2  # how often the soak takes it; 0: never


class Animal(NamedTuple):
    """One hostile handler."""

    name: str  # of the file; the task's type has hyphens
    path: Path
    end: End

    @property
    def type(self) -> str:
        """The task type."""
        return self.name.replace("_", "-")


def animals(world: str = "here", *, folder: Path = ZOO) -> list[Animal]:
    """Return the animals of a world by name."""
    found = [read_animal(path) for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    return [animal for animal in found if animal.end.world == world]


def read_animal(path: Path) -> Animal:
    """Read one file.

    Raises:
        ValueError: it has no docstring, no `END`, or one that is no literal of the known fields.
    """
    tree = ast.parse(path.read_text())
    ends = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["END"]
    ]
    if len(ends) != 1 or not ast.get_docstring(tree):
        raise ValueError(f"{path.name} needs a docstring and one END = {{…}}; see README.md")
    return Animal(path.stem, path, msgspec.convert(ast.literal_eval(ends[0]), End))
