"""The parameters of a handler in words, from their JSON Schema. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["ParameterRow", "example_of", "rows_of"]

MAX_DEPTH: Final = 3  # of objects in objects; deeper ones are found in the JSON Schema
MAX_DEFAULT_CHARS: Final = 40
BOUNDS: Final = (("minimum", "from {}"), ("exclusiveMinimum", "above {}"), ("maximum", "to {}"),
                 ("exclusiveMaximum", "below {}"), ("multipleOf", "in steps of {}"),
                 ("minLength", "from {} characters"), ("maxLength", "to {} characters"),
                 ("minItems", "from {} items"), ("maxItems", "to {} items"))  # fmt: skip


class ParameterRow(NamedTuple):
    """One parameter, or a field inside of one: ``camera.fov``."""

    name: str
    kind: str  # what values it takes
    default: str  # "required", JSON, or ""
    meaning: str


def rows_of(schema: Mapping[str, Any]) -> list[ParameterRow]:
    """Return a row for each parameter, those inside of objects behind the object."""
    return list(object_rows(schema, "", schema.get("$defs", {}), MAX_DEPTH))


def object_rows(
    schema: Mapping[str, Any], prefix: str, defs: Mapping[str, Any], depth: int
) -> Iterator[ParameterRow]:
    """Yield the rows of an object's properties."""
    required = set(schema.get("required", ()))
    for name, one in schema.get("properties", {}).items():
        default = "required" if name in required else default_of(one)
        meaning = " ".join(str(one.get("description", "")).split())
        yield ParameterRow(f"{prefix}{name}", kind_of(one, defs), default, meaning)
        inner, mark = inside(one, defs)
        if inner is not None and depth > 1:
            yield from object_rows(inner, f"{prefix}{name}{mark}.", defs, depth - 1)


def inside(one: Mapping[str, Any], defs: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """Return the object that a value is, or whose list it is, with ``[]`` then; None where it is neither."""
    one = resolved(one, defs)
    if "properties" in one:
        return one, ""
    if isinstance(items := one.get("items"), Mapping):
        inner, mark = inside(items, defs)
        return inner, f"[]{mark}"
    choices = [found for part in one.get("anyOf", ()) if (found := inside(part, defs))[0] is not None]
    return choices[0] if len(choices) == 1 else (None, "")


def resolved(one: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a schema refers to, or itself."""
    seen: set[str] = set()
    while isinstance(ref := one.get("$ref"), str) and ref not in seen:
        seen.add(ref)
        one = defs.get(ref.removeprefix("#/$defs/"), {})
    return one


def default_of(one: Mapping[str, Any]) -> str:
    """Return the default as JSON, shortened; nothing where there is none to be shown."""
    if "default" not in one:
        return ""
    text = json.dumps(one["default"], ensure_ascii=False)
    return text if len(text) <= MAX_DEFAULT_CHARS else f"{text[: MAX_DEFAULT_CHARS - 1]}…"


def kind_of(one: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Say in words what values a parameter takes."""
    one = resolved(one, defs)
    if "enum" in one:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in one["enum"])
    if "const" in one:
        return json.dumps(one["const"], ensure_ascii=False)
    if choices := one.get("anyOf") or one.get("oneOf"):
        return " or ".join(dict.fromkeys(kind_of(part, defs) for part in choices))
    bounds = [text.format(number(one[key])) for key, text in BOUNDS if key in one]
    return ", ".join([plain_kind(one, defs), *([" ".join(bounds)] if bounds else [])])


def plain_kind(one: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Say what values a schema without alternatives takes, without bounds."""
    kind = one.get("type", "any")
    if kind == "array" and isinstance(one.get("items"), Mapping):
        return f"list of {kind_of(one['items'], defs)}"
    if kind == "object" and isinstance(others := one.get("additionalProperties"), Mapping):
        return f"object of {kind_of(others, defs)}"
    if kind == "string" and one.get("format") == "password":
        return "secret"
    if kind == "string" and (form := one.get("format") or one.get("pattern")):
        return f"string ({form})"
    return str(kind)


def number(value: Any) -> str:
    """Return a bound as people write it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def example_of(type_: str, schema: Mapping[str, Any]) -> str:
    """Return a command line that submits a task of the type with everything that it requires."""
    defs, required = schema.get("$defs", {}), schema.get("required", ())
    words = ["millhand", "submit", type_]
    if "input" in schema.get("properties", {}):
        words.append("FILE")
        required = [name for name in required if name != "input"]
    for name in required:
        words += ["-p", f"{name}={example_value(schema['properties'][name], defs)}"]
    return " ".join(words)


def example_value(one: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Return a value as it is typed; a word in capitals where only its author knows one."""
    one = resolved(one, defs)
    if one.get("examples"):
        return quoted(one["examples"][0])
    if "enum" in one:
        return quoted(one["enum"][0])
    if choices := one.get("anyOf") or one.get("oneOf"):
        return example_value(choices[0], defs)
    match one.get("type"):
        case "integer":
            return str(one.get("minimum", one.get("exclusiveMinimum", 0) + 1))
        case "number":
            return number(one.get("minimum", one.get("exclusiveMinimum", 0) + 1))
        case "boolean":
            return "true"
        case "array":
            return "'[…]'"
        case "object":
            return "'{…}'"
    return "TEXT"


def quoted(value: Any) -> str:
    """Return a value as a shell takes it."""
    import shlex

    return shlex.quote(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
