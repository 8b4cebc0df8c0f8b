"""A command whose help is in sections and ends with examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from worker.cli.config_file import config_option
from worker.cli.setting import CommonOption
from worker.cli.settings import LOG_SETTINGS

__all__ = ["MillCommand", "command"]

Decorator = Callable[[Callable[..., Any]], "MillCommand"]
WIDTH_MAX = 110


class MillCommand(click.Command):
    """A command that shows its options by subject, and examples at the end."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        """Keep the examples: lines as they are typed, comments behind ``#``."""
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.context_settings.setdefault("max_content_width", WIDTH_MAX)
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of a subject under its name, the command's own first."""
        panels: dict[str, list[tuple[str, str]]] = {"Options": []}
        common: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            if isinstance(param, click.Argument) or (record := param.get_help_record(ctx)) is None:
                continue
            if isinstance(param, CommonOption) or "--help" in param.opts:
                common.append(record)
            else:
                panels.setdefault(getattr(param, "panel", "Options"), []).append(record)
        for title, records in [*panels.items(), ("Common", common)]:
            if records:
                with formatter.section(title):
                    formatter.write_dl(records, col_max=30)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip("\n").splitlines():
                    formatter.write(f"  {line}\n" if line else "\n")


def command(
    name: str, *, examples: str = "", logs: bool = False, cls: type[MillCommand] = MillCommand, **kwargs: Any
) -> Decorator:
    """Return the decorator that makes a function a command; its docstring is the help.

    The function returns the exit code. With `logs` it also takes the settings of logs, as
    `log_level` and `log_format`.
    """

    def decorate(function: Callable[..., Any]) -> MillCommand:
        wrapped = config_option(function)
        for setting in reversed(LOG_SETTINGS if logs else ()):
            wrapped = setting.option("Logs")(wrapped)
        made = click.command(name, cls=cls, examples=examples, **kwargs)(wrapped)
        assert isinstance(made, MillCommand)
        return made

    return decorate
