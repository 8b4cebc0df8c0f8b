"""One setting: a flag, an environment variable and a key of the configuration file by one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, Literal, TypeVar

import click
from msgspec import Struct

from worker.cli.values import PAIR, WORDS

__all__ = ["PREFIX", "CommonOption", "Setting", "SettingOption", "with_settings"]

PREFIX: Final = "MILLHAND_"

F = TypeVar("F", bound=Callable[..., Any])


class SettingOption(click.Option):
    """An option that stands under a heading of its own in the help."""

    panel: str = "Options"


class CommonOption(SettingOption):
    """An option that every command has; its help comes last."""

    panel = "Common"


class Setting(Struct, frozen=True, kw_only=True):
    """A setting, described once: ``--api-url``, ``MILLHAND_API_URL``, and ``api_url`` in the file."""

    name: str
    help: str
    type: Any = click.STRING
    default: Any = None
    default_text: str | None = None  # shown where the default is found out at run time
    kind: Literal["value", "flag", "words", "pairs"] = "value"
    metavar: str | None = None
    flag_name: str | None = None  # where the command itself says what it is about: serve's --port
    is_secret: bool = False  # its value is wiped from environment and arguments once it is read

    @property
    def flag(self) -> str:
        """Return the option's name on the command line."""
        return "--" + (self.flag_name or self.name.replace("_", "-"))

    @property
    def variable(self) -> str:
        """Return the environment variable's name."""
        return PREFIX + self.name.upper()

    @property
    def shown_default(self) -> str | bool:
        """Return what the help shows as default."""
        if self.default_text is not None:
            return self.default_text
        if self.kind == "flag" and self.default is False:
            return "off"
        return self.default not in (None, (), "")

    def option(self, panel: str) -> Callable[[F], F]:
        """Return the decorator that adds the option to a command."""
        flags = f"{self.flag}/--no-{self.flag[2:]}" if self.kind == "flag" else self.flag
        kinds: dict[str, Any] = {"words": WORDS, "pairs": PAIR, "flag": click.BOOL}
        return click.option(
            flags,
            self.name,
            cls=type(f"{panel}Option", (SettingOption,), {"panel": panel}),
            type=kinds.get(self.kind, self.type),
            default=None if self.kind in {"words", "pairs"} else self.default,
            multiple=self.kind in {"words", "pairs"},
            metavar=self.metavar,
            envvar=self.variable,
            show_envvar=True,
            show_default=self.shown_default,
            help=self.help,
        )

    def settled(self, value: Any) -> Any:
        """Return the value as the configuration takes it: lists flat, pairs as a mapping."""
        if self.kind == "words":
            return tuple(word for words in value or () for word in words)
        if self.kind == "pairs":
            return dict(value or ())
        return value


def with_settings(
    panel: str, settings: tuple[Setting, ...], build: Callable[[Mapping[str, Any]], Any], into: str
) -> Callable[[F], F]:
    """Return a decorator: the command takes these settings, and gets them built into one value."""

    def decorate(function: F) -> F:
        @wraps(function)
        def wrapper(**given: Any) -> Any:
            own = {setting.name: setting.settled(given.pop(setting.name)) for setting in settings}
            return function(**{into: build(own)}, **given)

        command: Any = wrapper
        for setting in reversed(settings):
            command = setting.option(panel)(command)
        return command  # type: ignore[no-any-return]

    return decorate
