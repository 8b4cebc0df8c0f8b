"""Find everything that is wrong with a value, part by part; a conversion itself stops at the first."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from worker.sdk.models import ModelInvalid, is_model, read_model
from worker.sdk.secret import has_secret, secrets_in

__all__ = ["MISSING", "Field", "fields_of", "find_problems", "shown"]

MAX_SHOWN_CHARS: Final = 60
MISSING: Final = "missing; the handler requires it"
LISTS: Final = frozenset({list, set, frozenset, tuple})

Convert = Callable[[Any, Any], Any]


class Field(NamedTuple):
    """One field of a class that stands for an object of JSON."""

    name: str  # as it stands in JSON
    type: Any
    is_required: bool


def find_problems(value: Any, of: Any, path: str, convert: Convert) -> list[str]:
    """Return one sentence for each part of a value that does not fit, each beginning with its path.

    Args:
        value: of JSON.
        of: the type that it should fit.
        path: of the value, as ``camera``.
        convert: raises ValueError where a value does not fit a type.
    """
    try:
        convert(value, of)
    except ValueError as exc:
        return inner_problems(value, bare(of), path, convert) or [own_problem(exc, value, of, path)]
    return []


def inner_problems(value: Any, of: Any, path: str, convert: Convert) -> list[str]:
    """Return the problems of the parts of a value; none where there are no parts, or all of them fit."""
    if is_model(of):
        return model_problems(value, of, path)
    return [
        problem
        for inner_path, part, inner in parts_of(value, of)
        for problem in (
            [f"{path}{inner_path}: {MISSING}"]
            if part is ...
            else find_problems(part, inner, f"{path}{inner_path}", convert)
        )
    ]


def model_problems(value: Any, of: Any, path: str) -> list[str]:
    """Return the problems that a model of pydantic finds."""
    try:
        read_model(of, value)
    except ModelInvalid as exc:
        hidden = set(secrets_in(value, of))
        return [
            f"{path}{where}: {text}"
            + ("" if given is ... or any(secret in str(given) for secret in hidden) else quoted(given))
            for where, text, given in exc.problems
        ]
    return []


def own_problem(exc: ValueError, value: Any, of: Any, path: str) -> str:
    """Return what is wrong with a value as a whole."""
    head, _, where = str(exc).partition(" - at `$")
    text = head[:1].lower() + head[1:]
    return f"{path}{where.rstrip('`')}: {text}" + ("" if has_secret(of) else quoted(value))


def parts_of(value: Any, of: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield path, value (`...`: missing) and type of each part of a value."""
    origin, inner = typing.get_origin(of) or of, typing.get_args(of)
    if isinstance(value, Mapping):
        for field in fields_of(of) or ():
            if field.name in value:
                yield f".{field.name}", value[field.name], field.type
            elif field.is_required:
                yield f".{field.name}", ..., field.type
        if origin is dict and len(inner) == 2:
            yield from ((f".{name}", part, inner[1]) for name, part in value.items())
    elif isinstance(value, list | tuple) and origin in LISTS and inner:
        if origin is tuple and inner[-1] is not ...:
            if len(value) == len(inner):
                yield from ((f"[{at}]", *one) for at, one in enumerate(zip(value, inner, strict=True)))
        else:
            yield from ((f"[{at}]", part, inner[0]) for at, part in enumerate(value))
    if origin in (typing.Union, types.UnionType):
        meant = [one for one in map(bare, inner) if could_be(value, one)]
        if len(meant) == 1:
            yield "", value, meant[0]


def could_be(value: Any, of: Any) -> bool:
    """Tell whether a type of a union is what a value with parts was meant to be."""
    origin = typing.get_origin(of) or of
    if isinstance(value, Mapping):
        return is_model(of) or origin is dict or fields_of(of) is not None
    return isinstance(value, list) and origin in LISTS


def fields_of(of: Any) -> list[Field] | None:
    """Return the fields of a Struct, dataclass or TypedDict; None where a type is none, or cannot be read."""
    try:
        if isinstance(of, type) and issubclass(of, msgspec.Struct):
            return [Field(one.encode_name, one.type, one.required) for one in msgspec.structs.fields(of)]
        if isinstance(of, type) and hasattr(of, "__dataclass_fields__"):
            import dataclasses  # noqa: PLC0415 - most handlers have none, and it costs 4 ms

            hints = typing.get_type_hints(of, include_extras=True)
            return [
                Field(one.name, hints[one.name], one.default is one.default_factory is dataclasses.MISSING)
                for one in dataclasses.fields(of)
                if one.init
            ]
        if typing.is_typeddict(of):
            hints = typing.get_type_hints(of, include_extras=True)
            return [Field(name, *item(hint, name in of.__required_keys__)) for name, hint in hints.items()]
    except (NameError, TypeError, AttributeError):
        return None
    return None


def item(of: Any, is_required: bool) -> tuple[Any, bool]:
    """Return the type of an item of a TypedDict and whether it is required; its own word wins."""
    if (origin := typing.get_origin(of)) in (typing.Required, typing.NotRequired):
        return typing.get_args(of)[0], origin is typing.Required
    return of, is_required


def bare(of: Any) -> Any:
    """Return a type without what describes it; bounds are told by the conversion of the whole."""
    return typing.get_args(of)[0] if typing.get_origin(of) is typing.Annotated else of


def quoted(value: Any) -> str:
    """Return a value as it stands behind a problem."""
    return f" (given: {shown(value)})"


def shown(value: Any) -> str:
    """Return a value for a message: short."""
    try:
        text = msgspec.json.encode(value, enc_hook=repr).decode()
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"
