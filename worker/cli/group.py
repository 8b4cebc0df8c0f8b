"""A command with verbs of its own: one of them is what it does when none is named."""

from __future__ import annotations

from typing import Any

import click

from worker.cli.command import WIDTH_MAX

__all__ = ["MillGroup"]


class MillGroup(click.Group):
    """A group whose help ends with examples, and which does its first verb by itself."""

    def __init__(self, *args: Any, examples: str = "", first: str, **kwargs: Any) -> None:
        """`first` is the verb where none is named; `examples` are lines as they are typed."""
        super().__init__(*args, **kwargs)
        self.no_args_is_help = False
        self.examples = examples
        self.first = first
        self.context_settings.setdefault("max_content_width", WIDTH_MAX)
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the first verb before options that come without one."""
        is_help = bool(args) and args[0] in ctx.help_option_names
        if not is_help and (not args or args[0].startswith("-")) and not ctx.resilient_parsing:
            args = [self.first, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which they were made."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are."""
        with formatter.section("Examples"):
            for line in self.examples.strip("\n").splitlines():
                formatter.write(f"  {line}\n" if line else "\n")
