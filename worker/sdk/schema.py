"""Describe the parameters of a handler as JSON Schema."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from worker.sdk.docstring import split_doc
from worker.sdk.handler import clean_doc
from worker.sdk.models import holds_secret, is_marked, is_model, model_schema

if TYPE_CHECKING:
    from worker.sdk.parameters import Parameter

__all__ = ["describe_parameters"]

DEFS: Final = "#/$defs/"
UNFIT: Final = re.compile(r"[^\w.-]+")


def describe_parameters(
    parameters: Sequence[Parameter], takes_others: bool, whole: Parameter | None, doc: str
) -> dict[str, Any]:
    """Return the JSON Schema of a task's parameters: types, bounds, defaults, and what each of them is."""
    schema = of_each(parameters, takes_others) if whole is None else of_whole(whole.type)
    meanings = split_doc(doc)[1]
    if whole is not None:
        class_doc = clean_doc(whole.type.__doc__)
        meanings = {**split_doc(class_doc)[1], **split_doc(class_doc, "Attributes")[1], **meanings}
    schema["properties"] = {
        name: with_meaning(one, meanings.get(name)) for name, one in schema["properties"].items()
    }
    shown: dict[str, Any] = without_secret_defaults(schema)
    return shown


def of_each(parameters: Sequence[Parameter], takes_others: bool) -> dict[str, Any]:
    """Describe parameters that are arguments."""
    schemas, components = components_of([parameter.type for parameter in parameters])
    properties = {
        parameter.name: with_default(schema, parameter)
        for parameter, schema in zip(parameters, schemas, strict=True)
    }
    required = [parameter.name for parameter in parameters if parameter.is_required]
    return object_of(properties, required, takes_others, components)


def of_whole(of: Any) -> dict[str, Any]:
    """Describe parameters that are the fields of a class."""
    (schema,), components = components_of([of])
    while isinstance(ref := schema.get("$ref"), str):
        schema = components[ref.removeprefix(DEFS)]
    used = {name: one for name, one in components.items() if one is not schema or refers(components, name)}
    return object_of(
        dict(schema.get("properties", {})),
        list(schema.get("required", ())),
        schema.get("additionalProperties", False) if is_model(of) else False,
        used,
    )


def refers(components: Mapping[str, Any], name: str) -> bool:
    """Tell whether a component is used by one; the way in does not count."""
    return f'"{DEFS}{name}"'.encode() in msgspec.json.encode(components)


def object_of(
    properties: dict[str, Any], required: list[str], others: Any, components: Mapping[str, Any]
) -> dict[str, Any]:
    """Put the schema of an object together."""
    schema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": others,
    }
    return schema | ({"$defs": dict(components)} if components else {})


def components_of(types: Sequence[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the schema of each type, and the components that they refer to."""
    models: dict[str, Any] = {}

    def of_other(of: Any) -> dict[str, Any]:
        if issubclass(of, Path):
            return {"type": "string", "format": "path"}
        if not is_model(of):
            raise NotImplementedError
        # Under the model's own name, so that a `Camera` of pydantic and another one stay two.
        name = UNFIT.sub("_", of.__name__)
        schema = dict(model_schema(of, ref_template=f"{DEFS}{name}.{{model}}"))
        models.update({f"{name}.{inner}": one for inner, one in schema.pop("$defs", {}).items()})
        return schema

    with any_defaults():
        schemas, components = msgspec.json.schema_components(list(types), schema_hook=of_other)
    return [dict(schema) for schema in schemas], dict(components) | models


@contextlib.contextmanager
def any_defaults() -> Iterator[None]:
    """Have msgspec describe classes whose fields have defaults that are no JSON, such as paths.

    It takes no hook for those, and raises TypeError (0.22). Only here, and only while it describes.
    """
    module: Any = sys.modules["msgspec._json_schema"]
    before = module.to_builtins
    module.to_builtins = functools.partial(before, enc_hook=plain)
    try:
        yield
    finally:
        module.to_builtins = before


def with_default(schema: dict[str, Any], parameter: Parameter) -> dict[str, Any]:
    """Add the default where it can be written as JSON."""
    if parameter.is_required or parameter.is_secret:
        return schema
    try:
        default = msgspec.to_builtins(parameter.default, str_keys=True, enc_hook=plain)
    except (TypeError, ValueError):
        return schema
    return schema | {"default": default}


def plain(value: Any) -> Any:
    """Return a default as JSON has it: a model as its fields, a path as text."""
    return value.model_dump(mode="json") if is_model(type(value)) else str(value)


def with_meaning(schema: dict[str, Any], meaning: str | None) -> dict[str, Any]:
    """Add what a docstring says, where the type says nothing itself."""
    return schema | {"description": meaning} if meaning and "description" not in schema else schema


def without_secret_defaults(schema: Any) -> Any:
    """Return a schema in which no default of a secret stands."""
    if isinstance(schema, list):
        return [without_secret_defaults(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    is_hidden = "default" in schema and (
        is_marked(schema) or any(holds_secret(schema.get(key)) for key in ("anyOf", "items"))
    )
    return {
        name: without_secret_defaults(one)
        for name, one in schema.items()
        if not (is_hidden and name == "default" and not isinstance(one, Mapping))
    }
