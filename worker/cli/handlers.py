"""`millhand handlers`: what is installed here, with the parameters of each."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

import click
from msgspec import structs

from worker.cli import human, paths
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.settings import agent_settings
from worker.cli.templates import as_json, read_or_fail, show_templates
from worker.cli.terminal import Output, output_options
from worker.config import AgentConfig, ApiConfig

if TYPE_CHECKING:
    from handlers.programs.templates import Template
    from worker.executor.catalogue import Catalogue, HandlerEntry

__all__ = ["command", "read_catalogue", "split_doc"]

ARGUMENT: Final = re.compile(r"\s{1,4}(\w+)(?: \([^)]*\))?: *(.*)")  # a parameter of a Google docstring


@make_command(
    "handlers",
    examples="""
millhand handlers                          # every type, and what is broken
millhand handlers mesh-convert             # its parameters
millhand handlers --handlers my_handlers.py
millhand handlers --json | jq '.handlers[].type'
""",
)
@click.argument("type_", metavar="[TYPE]", required=False)
@output_options
@agent_settings
def command(*, type_: str | None, agent: Callable[[ApiConfig], AgentConfig], out: Output) -> int:
    """List the handlers of this machine, or show the one of TYPE with its parameters.

    Exit 1 if one of them is broken.
    """
    config = agent(ApiConfig())
    catalogue = asyncio.run(read_catalogue(config))
    if type_ is not None:
        entry = catalogue.entries.get(type_)
        if entry is None:
            known = ", ".join(sorted(catalogue.entries)) or "none"
            raise CliError(f"there is no handler for {type_!r}", f"there are: {known}", code=ExitCode.USAGE)
        show_one(out, entry, read_or_fail(config.command_templates) if type_ == "command" else {})
        return ExitCode.OK if entry.problem is None else ExitCode.FAILED
    show_all(out, catalogue)
    is_broken = catalogue.problems or any(entry.problem for entry in catalogue.entries.values())
    return ExitCode.FAILED if is_broken else ExitCode.OK


async def read_catalogue(config: AgentConfig) -> Catalogue:
    """Return the handlers of this machine."""
    from worker.executor.catalogue import open_catalogue
    from worker.executor.describer import Describer

    folder = paths.state_home() / "cache"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return await open_catalogue(config.handlers, Describer(None))
    return await open_catalogue(config.handlers, Describer(folder))


def show_all(out: Output, catalogue: Catalogue) -> None:
    """Write the list."""
    if out.is_json:
        out.json({
            "handlers": [structs.asdict(entry) for entry in catalogue.entries.values()],
            "problems": [structs.asdict(problem) for problem in catalogue.problems],
            "warnings": catalogue.warnings,
        })  # fmt: skip
        return
    from rich.text import Text

    from worker.cli.view import status_text, table

    made = table("type", "state", "from", "what it does")
    for entry in catalogue.entries.values():
        said = Text(entry.problem, style="red") if entry.problem else Text(human.text(entry.summary))
        made.add_row(
            Text(entry.type), status_text("broken" if entry.problem else "ok"), Text(entry.source), said
        )
    for problem in catalogue.problems:
        made.add_row(
            human.DASH, status_text("broken"), Text(problem.source), Text(problem.message, style="red")
        )
    out.table(made)
    for warning in catalogue.warnings:
        out.say(f"warning: {warning}")
    for problem in catalogue.problems:
        if problem.traceback:
            out.say(f"\n{problem.source}:\n{problem.traceback}")


def show_one(out: Output, entry: HandlerEntry, templates: dict[str, Template]) -> None:
    """Write one handler with its parameters, and the templates of this machine that it knows."""
    if out.is_json:
        out.json(structs.asdict(entry) | ({"templates": as_json(templates)} if templates else {}))
        return
    from rich.text import Text

    from worker.cli.view import record, status_text, table

    options = [f"{name}={value}" for name, value in entry.options.items() if value is not None]
    record(out, entry.type, [
        ("state", status_text("broken" if entry.problem else "ok")),
        *([("problem", Text(entry.problem, style="red"))] if entry.problem else []),
        ("from", entry.source), ("function", entry.target), ("options", ", ".join(options)),
    ])  # fmt: skip
    about, meanings = split_doc(entry.doc or "")
    if about:
        click.echo(f"\n{about}\n")
    if entry.schema is not None:
        made = table("parameter", "type", "default", "what it is")
        for name, kind, default in parameters_of(entry.schema):
            made.add_row(Text(name), Text(kind), Text(default), Text(meanings.get(name, "")))
        out.table(made)
    show_templates(out, templates)
    if entry.traceback:
        out.say(entry.traceback)


def split_doc(doc: str) -> tuple[str, dict[str, str]]:
    """Return a docstring without its `Args:` section, and what that says of each parameter."""
    before, found, after = doc.partition("Args:\n")
    if not found:
        return doc.strip(), {}
    section = list(takewhile(lambda line: not line or line[0].isspace(), after.splitlines()))
    rest = "\n".join(after.splitlines()[len(section) :])
    meanings: dict[str, str] = {}
    name = ""
    for line in section:
        if match := ARGUMENT.match(line):
            name = match[1]
            meanings[name] = match[2]
        elif name and line.strip():
            meanings[name] += f" {line.strip()}"
    return f"{before.strip()}\n\n{rest.strip()}".strip(), meanings


def parameters_of(schema: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, type and default of each parameter, as its JSON Schema says them."""
    required = set(schema.get("required", ()))
    return [
        (name, kind_of(one), "required" if name in required else json.dumps(one.get("default")))
        for name, one in schema.get("properties", {}).items()
    ]


def kind_of(one: dict[str, Any]) -> str:
    """Say in words what values a parameter takes."""
    if "enum" in one:
        return " | ".join(json.dumps(value) for value in one["enum"])
    if "anyOf" in one:
        return " or ".join(kind_of(part) for part in one["anyOf"])
    if one.get("type") == "array" and isinstance(one.get("items"), dict):
        return f"list of {kind_of(one['items'])}"
    return str(one.get("type", "any"))
