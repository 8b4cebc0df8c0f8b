"""Models of pydantic as types of parameters, known by what they can do; pydantic is never imported here."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

__all__ = [
    "MARKS",
    "ModelInvalid",
    "is_marked",
    "is_model",
    "model_has_secret",
    "model_schema",
    "model_secrets",
    "read_model",
]

PASSWORD: Final = "password"  # noqa: S105 - a format of JSON Schema: what `SecretStr` and our `Secret` say
MARKS: Final = {"format": PASSWORD, "writeOnly": True}  # of a secret; one of them is enough
OF_CONTAINERS: Final = frozenset(  # errors of what has parts, some of which may be secret
    f"{kind}_type"
    for kind in ("dataclass", "dict", "frozen_set", "list", "model", "model_attributes", "set", "tuple")
)
EXCUSES: Final = ("Value error, ", "Assertion failed, ")  # before what the author's own validators say


class ModelInvalid(ValueError):  # noqa: N818 - what the value is
    """A value does not fit a model; `problems` are paths below it, messages and given values."""

    def __init__(self, problems: list[tuple[str, str, Any]]) -> None:
        super().__init__("; ".join(f"{text} at {path}" if path else text for path, text, _ in problems))
        self.problems = problems


def is_model(of: Any) -> bool:
    """Tell whether a type is a model: it validates, and describes itself."""
    return isinstance(of, type) and all(
        callable(getattr(of, name, None)) for name in ("model_validate", "model_json_schema")
    )


def read_model(of: Any, value: Any) -> Any:
    """Return a value as a model, as if it were read from JSON (a strict model takes a date as text then).

    Raises:
        ModelInvalid: it does not fit; every problem is in it.
    """
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError):
        encoded = None  # no JSON: an author's test gave it
    try:
        return of.model_validate(value) if encoded is None else of.model_validate_json(encoded)
    except ValueError as exc:
        raise ModelInvalid(problems_of(exc) if hasattr(exc, "errors") else [("", str(exc), ...)]) from None


def problems_of(exc: Any) -> list[tuple[str, str, Any]]:
    """Return path, message and given value (`...`: none) of each error that pydantic found."""
    found = []
    for error in exc.errors(include_url=False):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
        match error["type"]:
            case "missing":
                found.append((path, "missing; the handler requires it", ...))
            case "extra_forbidden":
                found.append((path, "unexpected", ...))
            case _:
                text: str = error["msg"]
                for excuse in EXCUSES:
                    text = text.removeprefix(excuse)
                is_shown = (
                    bool(path)  # else it is all of it, secrets too
                    and error["type"] not in OF_CONTAINERS
                    and not isinstance(error["input"], dict | list | bytes)
                )
                found.append((path, text[:1].lower() + text[1:], error["input"] if is_shown else ...))
    return found


@lru_cache(maxsize=128)
def model_schema(of: Any, by_alias: bool = True, ref_template: str = "#/$defs/{model}") -> Mapping[str, Any]:
    """Return the JSON Schema of a model; not to be changed.

    Raises:
        TypeError: it holds what cannot come as JSON.
    """
    try:
        schema: dict[str, Any] = of.model_json_schema(
            by_alias=by_alias, ref_template=ref_template, **marking(of)
        )
    except Exception as exc:
        raise TypeError(f"{of.__name__} cannot be described as JSON Schema: {exc}") from exc
    return schema


def marking(of: Any) -> dict[str, Any]:
    """Return what has a model describe `pydantic.Secret[...]` as secret too, which says nothing of itself."""
    given = inspect.signature(of.model_json_schema).parameters.get("schema_generator")
    if given is None or not hasattr(given.default, "json_or_python_schema"):
        return {}
    base = given.default

    def json_or_python_schema(self: Any, schema: Any) -> dict[str, Any]:
        described: dict[str, Any] = base.json_or_python_schema(self, schema)
        writer = schema.get("serialization", {}).get("function")
        is_secret = getattr(writer, "__module__", "") == "pydantic.types" and "secret" in writer.__name__
        return described | MARKS if is_secret else described

    quiet = {"non-serializable-default"} | getattr(base, "ignored_warning_kinds", set())  # a secret's is none
    own = {"json_or_python_schema": json_or_python_schema, "ignored_warning_kinds": quiet}
    return {"schema_generator": type("Marked", (base,), own)}


def is_marked(schema: Mapping[str, Any]) -> bool:
    """Tell whether a JSON Schema says that the value is secret."""
    return schema.get("format") == PASSWORD or schema.get("writeOnly") is True


def model_has_secret(of: Any) -> bool:
    """Tell whether a part of a model is secret."""
    return holds_secret(model_schema(of))


def holds_secret(schema: Any) -> bool:
    """Tell whether a part of a JSON Schema is secret."""
    if isinstance(schema, list):
        return any(map(holds_secret, schema))
    return isinstance(schema, Mapping) and (is_marked(schema) or any(map(holds_secret, schema.values())))


def model_secrets(of: Any, value: Any) -> Iterator[Any]:
    """Yield the parts of a JSON value that are secret by its model, under aliases and names of fields.

    In an object with secrets, what stands under a name that is not known counts too: a name may be mistyped.
    """
    if model_has_secret(of):
        for by_alias in (True, False):
            schema = model_schema(of, by_alias)
            yield from secret_parts(value, schema, schema, names_of(of), 0)


def names_of(of: Any) -> frozenset[str]:
    """Return the names and aliases of a model's fields and of the models below: none of them is unknown."""
    found: set[str] = set()
    for by_alias in (True, False):
        schema = model_schema(of, by_alias)
        for one in (schema, *schema.get("$defs", {}).values()):
            found |= one.get("properties", {}).keys()
    return frozenset(found)


def secret_parts(
    value: Any, schema: Any, root: Mapping[str, Any], known: frozenset[str], depth: int
) -> Iterator[Any]:
    """Yield the secret parts of a value by a JSON Schema."""
    if not isinstance(schema, Mapping) or depth > 64:
        return
    if is_marked(schema):
        yield value
        return
    if isinstance(ref := schema.get("$ref"), str):
        target = root.get("$defs", {}).get(ref.rpartition("/")[2])
        yield from secret_parts(value, target, root, known, depth + 1)
    for one in (one for key in ("anyOf", "oneOf", "allOf") for one in schema.get(key, ())):
        yield from secret_parts(value, one, root, known, depth + 1)
    if isinstance(value, dict):
        yield from secret_fields(value, schema, root, known, depth)
    elif isinstance(value, list):
        places = schema.get("prefixItems", ())
        for index, part in enumerate(value):
            at = places[index] if index < len(places) else schema.get("items")
            yield from secret_parts(part, at, root, known, depth + 1)
    elif isinstance(value, str) and "contentSchema" in schema:
        yield from secret_content(value, schema["contentSchema"], root, known, depth)


def secret_fields(
    value: dict[str, Any],
    schema: Mapping[str, Any],
    root: Mapping[str, Any],
    known: frozenset[str],
    depth: int,
) -> Iterator[Any]:
    """Yield the secret parts of an object, its keys among them."""
    properties = schema.get("properties", {})
    others = (schema.get("additionalProperties"), *schema.get("patternProperties", {}).values())
    for name, part in value.items():
        yield from secret_parts(name, schema.get("propertyNames"), root, known, depth + 1)
        if name in properties:
            yield from secret_parts(part, properties[name], root, known, depth + 1)
        elif name not in known and holds_secret(properties):
            yield part
        else:
            for one in others:  # whether or not the name fits the pattern
                yield from secret_parts(part, one, root, known, depth + 1)


def secret_content(
    value: str, schema: Any, root: Mapping[str, Any], known: frozenset[str], depth: int
) -> Iterator[Any]:
    """Yield the secret parts of JSON in a text, and the text that has them."""
    try:
        inner = msgspec.json.decode(value)
    except (ValueError, RecursionError):  # nobody can tell which part of it would be secret
        if holds_secret([schema, root.get("$defs")]):
            yield value
        return
    parts = list(secret_parts(inner, schema, root, known, depth + 1))
    yield from [*parts, value] if parts else ()
