"""The templates of commands as an operator sees them: checked, and listed with what they take."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from worker.cli.checks import Check, fail, ok, warn
from worker.cli.exits import CliError, ExitCode

if TYPE_CHECKING:
    from handlers.programs.templates import Template
    from worker.cli.terminal import Output

__all__ = ["as_json", "check_templates", "read_or_fail", "show_templates"]

TODO: Final = "mend the file; docs/handlers.md has what may stand in it"


def read_or_fail(path: Path | None) -> dict[str, Template]:
    """Return the templates of a file; none without one.

    Raises: CliError where it cannot be used.
    """
    from handlers.programs.templates import TemplateError, read_templates

    try:
        return read_templates(path) if path else {}
    except TemplateError as exc:
        raise CliError(str(exc), TODO, code=ExitCode.CONFIGURATION) from exc


def check_templates(path: Path | None) -> list[Check]:
    """Look at the file, at who may write it, and whether its programs are here; nothing without one."""
    from handlers.programs.allowed import program_of
    from handlers.programs.templates import TemplateError, read_templates
    from worker.sdk.errors import Fail

    if path is None:
        return []
    try:
        templates = read_templates(path)
    except TemplateError as exc:
        return [fail("templates", str(exc), TODO)]
    checks = [ok("templates", f"{path}: {', '.join(templates) or 'none'}")]
    if path.stat().st_mode & stat.S_IWOTH:
        checks = [warn("templates", f"{path} can be written by everybody", f"chmod o-w {path}")]
    for name, template in templates.items():
        try:
            program_of(name, str(template.argv[0]), os.environ)
        except Fail as exc:
            checks.append(warn(f"template {name}", str(exc), "install it, or mend the template"))
    return checks


def show_templates(out: Output, templates: dict[str, Template]) -> None:
    """Write each template with its parameters."""
    import click
    from rich.text import Text

    from worker.cli.view import table

    for name, template in templates.items():
        click.echo(f"\ntemplate {name}" + (f": {template.summary}" if template.summary else ""))
        made = table("value", "type", "default", "what it is")
        for row in rows(template):
            made.add_row(*map(Text, row))
        out.table(made)


def as_json(templates: dict[str, Template]) -> list[dict[str, Any]]:
    """Return the same for programs."""
    keys = ("name", "type", "default", "summary")
    return [
        {
            "name": name,
            "summary": template.summary,
            "program": template.argv[0],
            "values": [dict(zip(keys, row, strict=True)) for row in rows(template)],
        }
        for name, template in templates.items()
    ]


def rows(template: Template) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, kind, default and meaning of each parameter."""
    from handlers.programs.templates import parameters_of

    return parameters_of(template)
