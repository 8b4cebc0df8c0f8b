"""Where output goes and in which form: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import date
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click
from msgspec import Struct

from worker.cli.setting import CommonOption

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["Output", "no_color", "output_options", "print_json", "text_output_options"]

F = TypeVar("F", bound=Callable[..., Any])

PLAIN_WIDTH = 120  # columns of tables that do not go to a terminal


class Output(Struct, frozen=True):
    """How a command shows its result."""

    is_json: bool
    is_terminal: bool
    has_color: bool

    def console(self, *, stderr: bool = False) -> Console:
        """Return the console of rich for stdout, or for what stands beside the result."""
        from rich.console import Console

        stream = sys.stderr if stderr else sys.stdout
        width = None if has_width(stream) else PLAIN_WIDTH
        return Console(
            file=stream, no_color=not self.has_color, width=width, highlight=False, soft_wrap=False
        )

    def json(self, value: Any) -> None:
        """Write one JSON document to stdout."""
        print_json(value)

    def table(self, table: Table) -> None:
        """Write a table to stdout; what has no width, like a file, gets every row on a line where it can."""
        from worker.cli.fitting import fit, needed_width

        console = self.console()
        if not has_width(sys.stdout):
            console.width = max(PLAIN_WIDTH, needed_width(table))
        with console.capture() as drawn:
            for part in fit(table, console.width):
                console.print(part)
        lines = [line.rstrip() for line in drawn.get().rstrip("\n").split("\n")]
        click.echo("\n".join(lines), color=True)  # the console has decided on colours
        sys.stdout.flush()  # what is said next goes to stderr, and comes after it

    def say(self, line: str) -> None:
        """Write a line for people to stderr; nothing where a program reads."""
        if not self.is_json:
            click.echo(line, err=True)

    def note(self, line: str) -> None:
        """Write a warning to stderr, for whoever reads it: stdout stays what it is."""
        click.echo(f"note: {line}", err=True)


def has_width(stream: TextIO) -> bool:
    """Tell whether lines that are written there can be too long."""
    return stream.isatty() or bool(os.environ.get("COLUMNS"))


def print_json(value: Any) -> None:
    """Write one JSON document on stdout: indented for a terminal, else one line."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, indent=indent, ensure_ascii=False, default=jsonable))


def jsonable(value: object) -> Any:
    """Return what JSON has no form for, as text."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence | set | frozenset):
        return list(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def no_color(asked: bool) -> bool:
    """Tell whether colours are off: by flag, by NO_COLOR (https://no-color.org), or by a dumb terminal."""
    return asked or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def output_options(function: F) -> F:
    """Give a command `--json/--no-json` and `--no-color`, as `out: Output`; JSON by itself for programs."""
    return with_output(function, lambda is_terminal: not is_terminal)


def text_output_options(function: F) -> F:
    """The same for a command that writes for people unless JSON is asked for."""
    return with_output(function, lambda is_terminal: False)


def with_output(function: F, json_by_itself: Callable[[bool], bool]) -> F:
    """Give a command its output."""

    @wraps(function)
    def wrapper(*, as_json: bool | None, no_colour: bool, **given: Any) -> Any:
        is_terminal = sys.stdout.isatty()
        is_json = json_by_itself(is_terminal) if as_json is None else as_json
        return function(out=Output(is_json, is_terminal, is_terminal and not no_color(no_colour)), **given)

    command: Any = wrapper
    command = click.option(
        "--no-color", "no_colour", cls=CommonOption, is_flag=True,
        help="No colours; NO_COLOR=1 does the same.",
    )(command)  # fmt: skip
    auto = "; by itself JSON where stdout is not a terminal" if json_by_itself(False) else ""
    command = click.option(
        "--json/--no-json", "as_json", cls=CommonOption, default=None, help=f"JSON, or text{auto}."
    )(command)
    result: F = command
    return result
