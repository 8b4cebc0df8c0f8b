"""Templates of commands: an operator names the program and its options once, a task gives values only."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from handlers.programs.outputs import check_patterns
from handlers.programs.parameters import (
    Boolean,
    Choice,
    File,
    Input,
    Integer,
    Number,
    Parameter,
    Text,
    shown,
)
from handlers.programs.progress import progress_patterns
from worker import Fail

__all__ = [
    "VARIABLE",
    "Kind",
    "Template",
    "TemplateError",
    "find_templates",
    "names_in",
    "parameters_of",
    "read_templates",
]

VARIABLE: Final = "MILLHAND_COMMAND_TEMPLATES"
MAX_FILE_BYTES: Final = 1024 * 1024
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
DURATION: Final = re.compile(r"(?=\d)(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s?)?")

Kind = Integer | Number | Text | Choice | Boolean | Input | File


class TemplateError(ValueError):
    """A file of templates cannot be used; the message names the file, the table, the key and why."""


class Template(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One command that a task may have run; what the keys mean stands in docs/handlers.md."""

    argv: list[str | list[str]]
    summary: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    progress: str | list[str] | None = None
    progress_total: str | None = None
    timeout: str | int | float | None = None
    environment: dict[str, str] = field(default_factory=dict)
    success_exit_codes: list[int] = field(default_factory=lambda: [0])
    retry_exit_codes: list[int] = field(default_factory=list)
    retry_after: str | int | float | None = None

    @property
    def kinds(self) -> dict[str, Parameter]:
        """Return the parameters as what they are."""
        return {name: msgspec.convert(table, Kind) for name, table in self.parameters.items()}

    @property
    def timeout_s(self) -> float | None:
        """Return the time limit in seconds."""
        return None if self.timeout is None else seconds(self.timeout)

    @property
    def retry_after_s(self) -> float | None:
        """Return how long to wait before the next attempt, in seconds."""
        return None if self.retry_after is None else seconds(self.retry_after)


def find_templates(environment: Mapping[str, str]) -> dict[str, Template]:
    """Return the templates of this machine; none where no file is named.

    Raises:
        TemplateError: the file cannot be used.
    """
    path = environment.get(VARIABLE, "")
    return read_templates(Path(path)) if path else {}


def read_templates(path: Path) -> dict[str, Template]:
    """Read a file of templates.

    Raises:
        TemplateError: it cannot be read, or something in it is wrong.
    """
    tables = parse(path)
    templates: dict[str, Template] = {}
    for name, table in tables.items():
        if not NAME.fullmatch(name):
            raise TemplateError(f"{path}: [{shown(name)}]: a name has letters, digits, '-' and '_'")
        try:
            templates[name] = checked(msgspec.convert(table, Template))
        except msgspec.ValidationError as exc:
            raise TemplateError(f"{path}: [{name}] {readable(str(exc))}") from exc
        except ValueError as exc:
            raise TemplateError(f"{path}: [{name}] {exc}") from exc
    return templates


def parse(path: Path) -> dict[str, Any]:
    """Return what the TOML file holds."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise TemplateError(f"{path} is larger than 1 MiB")
        return tomllib.loads(content.decode())
    except OSError as exc:
        raise TemplateError(f"{path} cannot be read by uid {os.geteuid()}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise TemplateError(f"{path} is not valid TOML: {exc}") from exc


def readable(message: str) -> str:
    """Return msgspec's message with the key before it, as ours are."""
    text, found, where = message.partition(" - at `$")
    text = f"{text[:1].lower()}{text[1:]}"
    return f"{where.strip('.`')}: {text}" if found else text


def checked(template: Template) -> Template:
    """Return a template of which everything fits together; raise ValueError that begins with the key."""
    kinds = {name: checked_kind(name, table) for name, table in template.parameters.items()}
    check_argv(template, kinds)
    check_names("outputs", template.outputs, {name for name, kind in kinds.items() if always(kind)})
    try:
        check_patterns(template.outputs)
    except Fail as exc:
        raise ValueError(str(exc)) from exc
    for key, value in (("timeout", template.timeout), ("retry_after", template.retry_after)):
        if value is not None:
            with_key(key, seconds, value)
    with_key("progress", progress_patterns, template.progress)
    if template.progress_total is not None and not isinstance(
        kinds.get(template.progress_total), Integer | Number
    ):
        raise ValueError("progress_total: must name a parameter that is an integer or a number")
    for name in template.environment:
        if not ENVIRONMENT_NAME.fullmatch(name) or name.startswith("MILLHAND_"):
            raise ValueError(f"environment: {shown(name)} is no name that a program may be given")
    check_exit_codes(template)
    return template


def check_argv(template: Template, kinds: Mapping[str, Parameter]) -> None:
    """Check the program and each of its arguments."""
    if not template.argv or not isinstance(template.argv[0], str) or not template.argv[0]:
        raise ValueError("argv: its first element must be the program")
    if with_key("argv", names_in, template.argv[0]):
        raise ValueError("argv: the program itself cannot be a value of the task")
    if "/" in template.argv[0] and not template.argv[0].startswith("/"):
        raise ValueError(
            f"argv: {shown(template.argv[0])} is a relative path; give an absolute one or a name"
        )
    plain = [part for part in template.argv if isinstance(part, str)]
    check_names("argv", plain, {name for name, kind in kinds.items() if always(kind)})
    groups = [part for group in template.argv if isinstance(group, list) for part in group]
    check_names("argv", groups, set(kinds))
    used = {name for part in [*plain, *groups, *template.outputs] for name in names_in(part)}
    used |= {template.progress_total or ""}
    if unused := sorted(set(kinds) - used):
        raise ValueError(f"parameters.{unused[0]}: nothing in argv uses it")
    for part in [*plain, *groups]:
        for name in names_in(part):
            if isinstance(kinds[name], Boolean) and part != f"{{{name}}}":
                raise ValueError(f"argv: {shown(part)}: a boolean is an argument by itself: '{{{name}}}'")


def check_names(key: str, parts: list[str], known: set[str]) -> None:
    """Check that every placeholder names a parameter that has a value there."""
    for part in parts:
        for name in with_key(key, names_in, part):
            if name not in known:
                raise ValueError(
                    f"{key}: {shown(part)}: there is no parameter {name!r} that always has a value; "
                    "define it below parameters, or put an optional one into a list within argv"
                )


def names_in(part: str) -> list[str]:
    """Return the placeholders of an argument; raise ValueError where one is not simply ``{name}``."""
    names = []
    for _, name, spec, conversion in Formatter().parse(part):
        if name is None:
            continue
        if not NAME.fullmatch(name) or spec or conversion:
            raise ValueError(f"{shown(part)}: write {{name}} for a value, and {{{{ for a brace")
        names.append(name)
    return names


def checked_kind(name: str, table: object) -> Parameter:
    """Return a parameter; raise ValueError where its definition is wrong."""
    where = f"parameters.{name}"
    if not NAME.fullmatch(name):
        raise ValueError(f"{where}: a name has letters, digits, '-' and '_'")
    try:
        kind: Parameter = msgspec.convert(table, Kind)
    except msgspec.ValidationError as exc:
        text = readable(str(exc))
        raise ValueError(f"{where}.{text}" if " - at `$." in str(exc) else f"{where}: {text}") from exc
    if problem := kind.problem():
        raise ValueError(f"{where}.{problem}")
    if kind.default is not None:
        if isinstance(kind, Input):
            raise ValueError(f"{where}.default: an input has none; write its path into argv")
        with_key(f"{where}.default", kind.check, kind.default)
    return kind


def always(kind: Parameter) -> bool:
    """Tell whether a parameter has a value in every run."""
    return not kind.optional or kind.default is not None


def check_exit_codes(template: Template) -> None:
    """Check what exit codes mean."""
    for key in ("success_exit_codes", "retry_exit_codes"):
        if wrong := [code for code in getattr(template, key) if not 0 <= code <= 255]:
            raise ValueError(f"{key}: {wrong[0]} is no exit code (0 to 255)")
    if both := set(template.success_exit_codes) & set(template.retry_exit_codes):
        raise ValueError(f"retry_exit_codes: {min(both)} is an exit code that means success, too")


def seconds(value: str | float) -> float:
    """Return a duration in seconds: a number, or text like 90s, 5m, 1h30m; raise ValueError."""
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        hours, minutes, rest = (int(part or 0) for part in match.groups())
        value = hours * 3600 + minutes * 60 + rest
    if isinstance(value, str) or not 0 < value < 10**9:
        raise ValueError(f"must be seconds, or text like 90s, 5m or 1h30m, not {shown(value)}")
    return float(value)


def with_key(key: str, check: Any, value: object) -> Any:
    """Return what a check returns; what it says begins with the key."""
    try:
        return check(value)
    except ValueError as exc:
        raise ValueError(f"{key}: {exc}") from exc


def parameters_of(template: Template) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, kind, default and meaning of each parameter, for people."""
    for name, kind in template.kinds.items():
        tag = str(template.parameters[name]["type"])
        given = str(kind.default).lower() if isinstance(kind, Boolean) else str(kind.default)
        default = given if kind.default is not None else "optional" if kind.optional else "required"
        yield name, tag, default, kind.summary or kind.meaning()
