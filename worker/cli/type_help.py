"""What a command says of one task type: its parameters in the help, their names for the shell."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from worker.cli import paths
from worker.cli.command import MillCommand

if TYPE_CHECKING:
    from worker.executor.catalogue import HandlerEntry

__all__ = ["TypeCommand", "complete_parameter", "complete_type", "handler_here"]

ARGS: Final = "millhand.args"  # of a context's meta: what was typed


class TypeCommand(MillCommand):
    """A command whose first argument is a task type: ``TYPE --help`` is about that type."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what was typed; `--help` is acted on before the type is known."""
        ctx.meta[ARGS] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of the type that was named, where a handler of it is here; else the general one."""
        type_, handlers = typed(self, ctx)
        entry = None if type_ is None else asyncio.run(handler_here(type_, handlers))
        if entry is not None and entry.schema is not None:
            format_type(ctx, formatter, entry)
            return
        if type_ is not None:
            why = (
                f"cannot run here: {entry.problem}" if entry is not None else "has no handler on this machine"
            )
            formatter.write_text(f"{type_!r} {why}; its parameters are not known here. The general help:")
            formatter.write_paragraph()
        super().format_help(ctx, formatter)


def typed(command: click.Command, ctx: click.Context) -> tuple[str | None, tuple[str, ...]]:
    """Return the type that was typed, and the sources of handlers that are set."""
    try:
        given, _, _ = command.make_parser(ctx).parse_args(list(ctx.meta.get(ARGS, ())))
        options = {param.name: param for param in command.params}
        if ctx.default_map is None:  # --help came before it
            processed(options["config"], ctx, given)
        words = processed(options["handlers"], ctx, given)
    except click.UsageError:
        return None, ()
    type_ = given.get("type_")
    return (type_ if isinstance(type_, str) else None), (
        tuple(word for group in words for word in group) if isinstance(words, tuple) else ()
    )


def processed(param: click.Parameter, ctx: click.Context, given: Mapping[str, Any]) -> Any:
    """Return the value of an option, from wherever it comes; its callback is called."""
    return param.process_value(ctx, param.consume_value(ctx, given)[0])


async def handler_here(type_: str, handlers: Sequence[str]) -> HandlerEntry | None:
    """Return the handler of a type on this machine, described; None where there is none."""
    from worker.executor.catalogue import open_catalogue
    from worker.executor.describer import Describer
    from worker.executor.installed import installed_handlers

    entries = tuple(entry for entry in installed_handlers().entries if entry.type == type_)
    if not entries and not handlers:
        return None
    describer = Describer(paths.cache_folder())
    catalogue = await open_catalogue(handlers, describer, installed=entries)
    return catalogue.entries.get(type_)


def format_type(ctx: click.Context, formatter: click.HelpFormatter, entry: HandlerEntry) -> None:
    """Write what a type takes, and a command line."""
    from worker.cli.schema_view import example_of, rows_of
    from worker.sdk.docstring import split_doc

    assert entry.schema is not None
    has_input = "input" in entry.schema.get("properties", {})
    words = "[FILE|URL]… " if has_input else ""
    formatter.write_usage(ctx.command_path, f"{entry.type} {words}[-p NAME=VALUE]… [OPTIONS]")
    about = split_doc(entry.doc)[0]
    if about:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(about)
    rows = rows_of(entry.schema)
    with formatter.section("Parameters"):
        if rows:
            formatter.write_dl([(row.name, described(row)) for row in rows], col_max=30)
        else:
            formatter.write_text("none")
    with formatter.section("Example"):
        formatter.write(f"  {example_of(entry.type, entry.schema)}\n")
    formatter.write_paragraph()
    formatter.write_text(
        f"These are the parameters of the handler from {entry.source} here; other machines may have another"
        f" version. `{ctx.command_path} --help` lists the options."
    )


def described(row: Any) -> str:
    """Return what a parameter is, in a line."""
    default = {"required": "  [required]", "": ""}.get(row.default, f"  [default: {row.default}]")
    return f"{row.kind}{'; ' if row.meaning else ''}{row.meaning}{default}"


def complete_type(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the installed types that begin as typed, without asking their modules."""
    from worker.executor.installed import installed_handlers

    entries = installed_handlers().entries
    return [CompletionItem(entry.type) for entry in entries if entry.type.startswith(incomplete)]


def complete_parameter(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the parameters of the typed type that begin as typed."""
    from worker.cli.schema_view import rows_of

    type_ = next((word for word in ctx.meta.get(ARGS, ()) if not word.startswith("-")), None)
    entry = None if type_ is None else asyncio.run(handler_here(type_, ()))
    if entry is None or entry.schema is None:
        return []
    return [
        CompletionItem(f"{row.name}=", help=row.meaning or row.kind)
        for row in rows_of(entry.schema)
        if row.name.startswith(incomplete) and "." not in row.name
    ]
