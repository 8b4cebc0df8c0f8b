"""A form for a task's parameters, made from the JSON Schema of its handler, and what was filled in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from server.dashboard.shapes import dict_of, list_of, text_of

__all__ = ["BadField", "Field", "fields_of", "parameters_of"]

PREFIX: Final = "p."  # of the fields' names in the form: they stand beside ours
PLAIN: Final = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}


class BadField(ValueError):  # noqa: N818 - says what it is
    """What was filled in cannot be read; the message names the field."""


class Field(Struct, frozen=True, kw_only=True):
    """One parameter."""

    name: str
    kind: str  # text, integer, number, boolean, choice, json
    is_required: bool
    is_secret: bool
    help: str
    choices: tuple[str, ...]
    default: str  # as it is written into the form

    @property
    def key(self) -> str:
        """Its name in the form."""
        return PREFIX + self.name


def fields_of(schema: Mapping[str, Any] | None) -> list[Field]:
    """Return the fields of a form, in the schema's order; of a schema of another shape there are none."""
    given = dict_of(schema)
    required = list_of(given.get("required"))
    return [
        field_of(name, resolved(dict_of(about), dict_of(given.get("$defs"))), is_required=name in required)
        for name, about in dict_of(given.get("properties")).items()
    ]


def resolved(about: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with one reference followed, and "or null" taken out."""
    if isinstance(about.get("$ref"), str):
        about = {**dict_of(definitions.get(about["$ref"].rpartition("/")[2])), **about}
    others = [dict_of(one) for one in list_of(about.get("anyOf")) if dict_of(one).get("type") != "null"]
    return {**others[0], **about} if len(others) == 1 else about


def field_of(name: str, about: dict[str, Any], *, is_required: bool) -> Field:
    """Return one field; what has no simple type is filled in as JSON."""
    choices = tuple(one for one in list_of(about.get("enum")) if isinstance(one, str))
    kind = PLAIN.get(str(about.get("type")), "json")
    default = about.get("default")
    if default is None:
        written = ""
    else:
        written = default if kind == "text" and isinstance(default, str) else json.dumps(default)
    return Field(
        name=name,
        kind="choice" if choices else kind,
        is_required=is_required,
        is_secret=about.get("writeOnly") is True,
        help=text_of(about.get("description")) or "",
        choices=choices,
        default=default if choices and isinstance(default, str) else written,
    )


def parameters_of(fields: list[Field], form: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters that were filled in; what was left empty is left to the handler.

    Raises:
        BadField: a field cannot be read; the handler itself checks the rest.
    """
    filled = {field: form.get(field.key, "") for field in fields}
    return {field.name: read(field, text) for field, text in filled.items() if text.strip()}


def read(field: Field, text: str) -> Any:
    """Return what a field says."""
    if field.kind in ("text", "choice"):
        return text
    if field.kind == "boolean":
        return text == "true"
    try:
        value = msgspec.json.decode(text)  # strict: no NaN
    except (msgspec.MsgspecError, RecursionError):
        raise BadField(f"{field.name}: {text[:60]!r} is no {wanted(field)}") from None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    is_number = is_whole or isinstance(value, float)
    if (field.kind == "integer" and not is_whole) or (field.kind == "number" and not is_number):
        raise BadField(f"{field.name}: {text[:60]!r} is no {wanted(field)}")
    return value


def wanted(field: Field) -> str:
    """Return what a field wants, in words."""
    return {"integer": "whole number", "number": "number"}.get(field.kind, 'JSON (text stands in "quotes")')
