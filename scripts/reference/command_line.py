"""The reference of the command line, as `--help` shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from worker.cli.command import WIDTH_MAX
from worker.cli.main import SECTIONS, group

__all__ = ["command_line_page"]

HEAD: Final = """\
# Command line

What `--help` says of every command. [Settings](../settings.md) that many commands share have their own page.
"""


def command_line_page() -> str:
    """Return the page."""
    top = context(group, "millhand")
    return HEAD + shown(top) + "".join(part for section in SECTIONS for part in section_part(section, top))


def section_part(title: str, top: click.Context) -> Iterator[str]:
    """Yield the commands of one subject, and the verbs of those that have some."""
    yield f"\n## {title}\n"
    for name in SECTIONS[title]:
        command = group.get_command(top, name)
        assert command is not None
        ctx = context(command, name, top)
        yield f"\n### {ctx.command_path}\n{shown(ctx)}"
        if isinstance(command, click.Group):
            for verb in command.list_commands(ctx):
                below = command.get_command(ctx, verb)
                assert below is not None
                inner = context(below, verb, ctx)
                yield f"\n#### {inner.command_path}\n{shown(inner)}"


def context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    """Return a context of a width that no terminal changes."""
    return click.Context(
        command, info_name=name, parent=parent, terminal_width=WIDTH_MAX, max_content_width=WIDTH_MAX,
        help_option_names=["-h", "--help"],
    )  # fmt: skip


def shown(ctx: click.Context) -> str:
    """Return the help of a command as a block."""
    return f"\n```text\n{click.unstyle(ctx.get_help()).rstrip()}\n```\n"
