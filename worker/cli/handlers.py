"""`millhand handlers`: what is installed here, with the parameters of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from worker.cli import human, paths
from worker.cli.agent_settings import agent_settings
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.templates import as_json as templates_as_json
from worker.cli.templates import read_or_fail, show_templates
from worker.cli.terminal import Output, output_options
from worker.config import AgentConfig, ApiConfig
from worker.executor.named_secrets import NamedSecrets

if TYPE_CHECKING:
    from rich.text import Text

    from handlers.programs.templates import Template
    from worker.executor.catalogue import Catalogue, HandlerEntry

__all__ = ["command", "read_catalogue"]


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

    Exit 1 if one of them is broken, or if TYPE cannot run here. One that needs what this machine
    lacks (a browser, a library) is unavailable, which is no fault.
    """
    config = agent(ApiConfig())
    catalogue = asyncio.run(read_catalogue(config))
    here = NamedSecrets(config.secrets_dir, config.secrets)
    if type_ is not None:
        entry = catalogue.entries.get(type_)
        if entry is None:
            known = ", ".join(sorted(catalogue.entries)) or "none"
            raise CliError(f"there is no handler for {type_!r}", f"there are: {known}", code=ExitCode.USAGE)
        show_one(out, entry, here, read_or_fail(config.command_templates) if type_ == "command" else {})
        return ExitCode.OK if entry.problem is None else ExitCode.FAILED
    show_all(out, catalogue, here)
    is_broken = catalogue.problems or any(entry.is_broken for entry in catalogue.entries.values())
    return ExitCode.FAILED if is_broken else ExitCode.OK


async def read_catalogue(config: AgentConfig) -> Catalogue:
    """Return the handlers of this machine."""
    from worker.executor.catalogue import open_catalogue
    from worker.executor.describer import Describer

    return await open_catalogue(config.handlers, Describer(paths.cache_folder()))


def as_json(entry: HandlerEntry, here: NamedSecrets) -> dict[str, Any]:
    """Return an entry for a program, with what keeps an agent of this machine from its tasks."""
    return {**structs.asdict(entry), "lacks": here.lacks(entry.secrets)}


def show_all(out: Output, catalogue: Catalogue, here: NamedSecrets) -> None:
    """Write the list."""
    if out.is_json:
        out.json({
            "handlers": [as_json(entry, here) for entry in catalogue.entries.values()],
            "problems": [structs.asdict(problem) for problem in catalogue.problems],
            "warnings": catalogue.warnings,
        })  # fmt: skip
        return
    from rich.text import Text

    from worker.cli.view import status_text, table

    made = table("type", "state", "from", "what it does")
    for entry in catalogue.entries.values():
        said = problem_text(entry) if entry.problem else Text(human.text(entry.summary))
        made.add_row(Text(entry.type), status_text(state_of(entry, here)), Text(entry.source), said)
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


def state_of(entry: HandlerEntry, here: NamedSecrets) -> str:
    """Return whether a handler can run, and would be given tasks, here."""
    if entry.problem:
        return "broken" if entry.is_broken else "unavailable"
    return "lacks a secret" if here.lacks(entry.secrets) else "ok"


def problem_text(entry: HandlerEntry) -> Text:
    """Return why a handler cannot run here."""
    from rich.text import Text

    return Text(entry.problem or "", style="red" if entry.is_broken else "yellow")


def show_one(out: Output, entry: HandlerEntry, here: NamedSecrets, templates: dict[str, Template]) -> None:
    """Write one handler with its parameters, and the templates of this machine that it knows."""
    if out.is_json:
        told = {"templates": templates_as_json(templates)} if templates else {}
        out.json(as_json(entry, here) | told)
        return
    from rich.text import Text

    from worker.cli.schema_view import rows_of
    from worker.cli.view import record, status_text, table
    from worker.sdk.docstring import split_doc

    options = [f"{name}={value}" for name, value in entry.options.items() if value is not None]
    record(out, entry.type, [
        ("state", status_text(state_of(entry, here))),
        *([("problem", problem_text(entry))] if entry.problem else []),
        ("from", entry.source), ("function", entry.target), ("options", ", ".join(options)),
        *([("secrets", ", ".join(entry.secrets))] if entry.secrets else []),
        *[("lacks", Text(lack, style="yellow")) for lack in here.lacks(entry.secrets)],
    ])  # fmt: skip
    about, _ = split_doc(entry.doc or "")
    if about:
        click.echo(f"\n{about}\n")
    if entry.schema is not None:
        made = table("parameter", "type", "default", "what it is", whole=["parameter"])
        for row in rows_of(entry.schema):
            made.add_row(*map(Text, row))
        out.table(made)
    show_templates(out, templates)
    if entry.traceback:
        out.say(entry.traceback)
