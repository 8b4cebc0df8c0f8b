"""The OpenAPI 3.1 document, made of the declarations that also validate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from server.http.body import Body
from server.http.operation import Operation
from server.http.query import BEARER_TOKEN, Parameter

__all__ = ["document"]

Schema = dict[str, Any]

TITLE: Final = "Jobs API"
REFERENCE: Final = "#/components/schemas/{name}"
PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")

ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}
ALWAYS_REFUSED: Final = {
    401: "users_service_unavailable: the token is not valid",
    403: "forbidden: no token, or one that does not allow this",
    429: "rate_limited: the token makes too many requests; Retry-After says when to come again",
    503: "overloaded, unavailable: nothing was done; Retry-After says when to come again",
}
OF_BODIES: Final = {
    408: "too_slow: the body did not arrive in time",
    413: "body_too_large",
}


def document(operations: Sequence[Operation], version: str) -> Schema:
    """Return the document that describes the operations."""
    paths: dict[str, Schema] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": _schemas(operations), "securitySchemes": SECURITY},
        "security": [{"bearer": []}, {"query": []}],
    }


SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "query": {"type": "apiKey", "in": "query", "name": BEARER_TOKEN.name},
}


def _operation(operation: Operation) -> Schema:
    described: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "x-scope": operation.scope,
        "parameters": [
            *map(_path_parameter, PATH_PARAMETER.findall(operation.path)),
            *map(_query_parameter, operation.query),
        ],
        "responses": _responses(operation),
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        content = {"application/json": {"schema": _reference(operation.body.name)}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameter(parameter: Parameter) -> Schema:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _responses(operation: Operation) -> Schema:
    of_bodies = OF_BODIES if operation.body else {}
    refused = {**ALWAYS_REFUSED, **of_bodies, **operation.refusals}
    answers = {str(status): _json(when, _reference("error")) for status, when in sorted(refused.items())}
    return {"200": _json("Successful", _answer(operation)), **answers}


def _answer(operation: Operation) -> Schema:
    record = _reference(operation.answer.__name__)
    if operation.brief is not None:
        return {"anyOf": [record, _reference(operation.brief.__name__)]}
    if operation.wrapping is None:
        return record
    items = {"type": "array", "items": record}
    if not operation.wrapping:
        return {**items, "minItems": 1, "maxItems": 1}
    return {
        "type": "object",
        "required": [operation.wrapping],
        "properties": {operation.wrapping: items},
    }


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _reference(name: str) -> Schema:
    return {"$ref": REFERENCE.format(name=name)}


def _schemas(operations: Iterable[Operation]) -> Schema:
    shown = {record for operation in operations for record in (operation.answer, operation.brief) if record}
    records = sorted(shown, key=lambda record: record.__name__)
    _, components = msgspec.json.schema_components(records, ref_template=REFERENCE)
    bodies = {body.name: _body(body) for operation in operations if (body := operation.body)}
    return {**components, **bodies, "error": ERROR}


def _body(body: Body) -> Schema:
    fields = {field.name: {**field.kind.schema, "description": field.description} for field in body.fields}
    schema: Schema = {"type": "object", "properties": fields}
    if required := [field.name for field in body.fields if field.is_required]:
        schema["required"] = required
    return schema
