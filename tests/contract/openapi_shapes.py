"""Does a JSON value fit a schema of our OpenAPI document? The words that the document uses, and no others."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["misfit", "schema_of"]

Schema = dict[str, Any]

TYPES: Final[dict[str, Any]] = {
    "string": str, "boolean": bool, "null": type(None), "object": dict, "array": list,
}  # fmt: skip
KNOWN: Final = frozenset(
    {"$ref", "anyOf", "type", "properties", "required", "items", "minItems", "maxItems", "enum"}
    | {"title", "description", "minimum", "maximum", "minLength", "maxLength", "format", "default"}
    | {"additionalProperties", "examples"}
)


def schema_of(document: Schema, path: str, method: str, status: int) -> Schema | None:
    """Return the schema of an answer; None where the document knows no such status."""
    answers = document["paths"][path][method.lower()]["responses"]
    described = answers.get(str(status))
    return None if described is None else described["content"]["application/json"]["schema"]


def misfit(value: Any, schema: Schema, document: Schema, at: str = "$") -> str | None:
    """Return where and how a value does not fit; None: it does.

    Raises:
        AssertionError: the schema has a word that nobody checks here.
    """
    assert not schema.keys() - KNOWN, f"{at}: nobody checks {schema.keys() - KNOWN}"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return misfit(value, document["components"]["schemas"][name], document, at)
    if "anyOf" in schema:
        found = [misfit(value, one, document, at) for one in schema["anyOf"]]
        return None if None in found else "; ".join(map(str, found))
    if "enum" in schema and value not in schema["enum"]:
        return f"{at}: {value!r} is none of {schema['enum']}"
    if "type" in schema and not is_type(value, schema["type"]):
        return f"{at}: {value!r} is no {schema['type']}"
    if isinstance(value, dict):
        return misfit_object(value, schema, document, at)
    if isinstance(value, list):
        return misfit_list(value, schema, document, at)
    return None


def misfit_object(value: dict[str, Any], schema: Schema, document: Schema, at: str) -> str | None:
    """Check an object's fields."""
    if missing := [name for name in schema.get("required", ()) if name not in value]:
        return f"{at}: {missing} are missing"
    for name, one in schema.get("properties", {}).items():
        if name in value and (found := misfit(value[name], one, document, f"{at}.{name}")):
            return found
    others = schema.get("additionalProperties", {})
    for name in value.keys() - schema.get("properties", {}).keys():
        found = (
            f"{at}.{name}: unknown"
            if others is False
            else misfit(value[name], others, document, f"{at}.{name}")
        )
        if found:
            return found
    return None


def misfit_list(value: list[Any], schema: Schema, document: Schema, at: str) -> str | None:
    """Check a list's length and its entries."""
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return f"{at}: {len(value)} entries"
    for index, one in enumerate(value):
        if found := misfit(one, schema.get("items", {}), document, f"{at}[{index}]"):
            return found
    return None


def is_type(value: Any, type_: str) -> bool:
    """Tell whether a value is of a type of JSON."""
    if type_ in ("number", "integer"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (type_ == "number" or float(value).is_integer())
    return isinstance(value, TYPES[type_])
