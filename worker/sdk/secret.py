"""Parameters that must not be shown, and what of a task's parameters they are.

Imported when an author uses `Secret`, and by the child that runs or describes a handler.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypeGuard

import msgspec
from msgspec import inspect

from worker.sdk.models import MARKS, is_marked, is_model, model_has_secret, model_secrets

__all__ = ["Secret", "has_secret", "secrets_in"]


class PydanticMark:
    """Has a field `Secret` of a pydantic model described as one; `msgspec.Meta` says nothing to pydantic."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Return the schema of the text with the marks."""
        schema: dict[str, Any] = handler(core_schema)
        return schema | MARKS


# A `str` to the handler and to type checkers.
Secret = Annotated[str, msgspec.Meta(extra_json_schema=MARKS), PydanticMark()]


def has_secret(of: Any) -> bool:
    """Tell whether a type is a secret, or one may be inside."""
    return any(
        is_secret(part) or (is_model_type(part) and model_has_secret(part.cls))
        for part in parts_of(inspect.type_info(of), set())
    )


def secrets_in(value: Any, of: Any) -> Iterator[str]:
    """Yield the texts in a JSON value that are secrets by its type; also where it does not fit the type."""
    yield from secret_texts(value, inspect.type_info(of))


def is_secret(of: inspect.Type) -> bool:
    """Tell whether a type is marked as secret."""
    return isinstance(of, inspect.Metadata) and is_marked(of.extra_json_schema or {})


def is_model_type(of: inspect.Type) -> TypeGuard[inspect.CustomType]:
    """Tell whether a type is a model of pydantic."""
    return isinstance(of, inspect.CustomType) and is_model(of.cls)


def parts_of(of: inspect.Type, seen: set[Any]) -> Iterator[inspect.Type]:
    """Yield a type and those inside of it, each class once."""
    yield of
    if (cls := getattr(of, "cls", None)) is not None:
        if cls in seen:
            return
        seen.add(cls)
    for inner in inner_types(of):
        yield from parts_of(inner, seen)


def inner_types(of: inspect.Type) -> Iterator[inspect.Type]:
    """Yield the types directly inside of a type."""
    match of:
        case inspect.Metadata():
            yield of.type
        case inspect.UnionType():
            yield from of.types
        case inspect.CollectionType():
            yield of.item_type
        case inspect.TupleType():
            yield from of.item_types
        case inspect.DictType():
            yield from (of.key_type, of.value_type)
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType():
            yield from (field.type for field in of.fields)


def secret_texts(value: Any, of: inspect.Type) -> Iterator[str]:
    """Yield the secrets in a JSON value of a type."""
    if is_secret(of):
        yield from texts_in(value)
        return
    if is_model_type(of):
        for part in model_secrets(of.cls, value):
            yield from texts_in(part)
        return
    match of:
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType():
            for field in of.fields if isinstance(value, dict) else ():
                yield from secret_texts(value.get(field.encode_name), field.type)
        case inspect.DictType():
            for key, part in value.items() if isinstance(value, dict) else ():
                yield from secret_texts(key, of.key_type)
                yield from secret_texts(part, of.value_type)
        case inspect.Metadata() | inspect.UnionType():
            for inner in inner_types(of):
                yield from secret_texts(value, inner)
        case _:
            for inner in inner_types(of):
                for part in value if isinstance(value, list) else ():
                    yield from secret_texts(part, inner)


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a value, and numbers as text."""
    match value:
        case str():
            yield value
        case bool() | None:
            pass
        case int() | float():
            yield str(value)
        case dict():
            for part in value.values():
                yield from texts_in(part)
        case list():
            for part in value:
                yield from texts_in(part)
