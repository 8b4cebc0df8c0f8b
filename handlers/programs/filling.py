"""Fill a template with the values of a task: arguments for a program, never text for a shell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from glob import escape
from string import Formatter
from typing import Any, NamedTuple

from handlers.programs.parameters import Boolean, File, Input, Number, Parameter, Value, shown
from handlers.programs.templates import Template, names_in
from worker import Context
from worker.sdk.errors import InvalidParameters

__all__ = ["Filled", "checked_values", "filled"]


class Filled(NamedTuple):
    """What a template becomes with values."""

    arguments: list[str]  # behind the program
    outputs: list[str]  # patterns
    total: float | None  # of the progress, where a parameter tells it


def checked_values(template: Template, given: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values of all parameters that have one, defaults included.

    Raises:
        InvalidParameters: values are missing, unknown or refused; each is named.
    """
    kinds = template.kinds
    values: dict[str, Value] = {}
    problems = []
    for name, kind in kinds.items():
        value = given.get(name)
        value = kind.default if value is None else value
        if value is not None:
            try:
                values[name] = kind.check(value)
            except ValueError as exc:
                problems.append(f"values.{name} {exc}")
        elif not kind.optional:
            problems.append(f"values.{name} is missing: {kind.meaning()}")
    known = f"the template takes {', '.join(kinds) or 'no values'}"
    problems += [
        f"values.{shown(name)[1:-1]} is unexpected; {known}" for name in sorted(set(given) - set(kinds))
    ]
    if problems:
        raise InvalidParameters(problems)
    return values


def filled(template: Template, values: Mapping[str, Value], ctx: Context) -> Filled:
    """Return the arguments and patterns with checked values in them; inputs are fetched.

    Raises:
        Fail: an input is missing or not readable.
        Retry: the place it comes from has a passing problem.
    """
    kinds = template.kinds
    texts = {name: text_of(kinds[name], value, ctx) for name, value in values.items()}
    arguments = [
        argument for part in groups(template, texts) for argument in expanded(part, kinds, texts, values)
    ]
    names = {
        name: escape(text if not isinstance(kinds[name], File) else str(values[name]))
        for name, text in texts.items()
    }
    total = values.get(template.progress_total or "")
    return Filled(
        arguments,
        [put(pattern, names) for pattern in template.outputs],
        float(total) if isinstance(total, int | float) else None,
    )


def text_of(kind: Parameter, value: Value, ctx: Context) -> str:
    """Return a value as the program gets it."""
    if isinstance(kind, Input):
        return str(ctx.input(str(value), max_bytes=kind.max_bytes))
    if isinstance(kind, Number):
        return format(Decimal(str(value)), "f")  # 0.0000001, not 1e-07, which many programs cannot read
    return str(ctx.workdir / str(value)) if isinstance(kind, File) else str(value)


def groups(template: Template, texts: Mapping[str, str]) -> Iterator[str]:
    """Yield the arguments behind the program, without the groups that lack a value."""
    for part in template.argv[1:]:
        if isinstance(part, str):
            yield part
        elif all(name in texts for one in part for name in names_in(one)):
            yield from part


def expanded(
    part: str, kinds: Mapping[str, Parameter], texts: Mapping[str, str], values: Mapping[str, Value]
) -> list[str]:
    """Return what an element of argv stands for: itself with its values, or those of a truth value."""
    names = names_in(part)
    kind = kinds[names[0]] if names else None
    if isinstance(kind, Boolean):
        return kind.on if values[names[0]] else kind.off
    return [put(part, texts)]


def put(part: str, texts: Mapping[str, str]) -> str:
    """Return a text with its values; what stands in a value is never looked at again."""
    return "".join(
        literal + (texts[name] if name is not None else "") for literal, name, _, _ in Formatter().parse(part)
    )
