"""Check a task's parameters against the annotations of its handler, and describe them.

Imported by the child that runs or describes a handler, never with `worker.sdk` itself.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from worker.sdk.errors import InvalidParameters
from worker.sdk.secret import has_secret, secrets_in

__all__ = ["RESERVED", "Parameter", "Signature", "read_signature"]

RESERVED = {  # read by the agent, never passed to a handler
    "requires": "what a task needs of a machine",
    "limits": "what time and memory a task may take",
    "retry": "how a task is tried again",
}
MAX_SHOWN_CHARS = 60


class Parameter(NamedTuple):
    """One keyword parameter of a handler."""

    name: str
    type: Any
    default: Any  # inspect.Parameter.empty: required

    @property
    def is_secret(self) -> bool:
        """Tell whether its value, or a part of it, must not be shown."""
        return has_secret(self.type)

    @property
    def is_required(self) -> bool:
        """Tell whether a task must give it."""
        return self.default is inspect.Parameter.empty


class Signature(NamedTuple):
    """What a handler takes beside its context."""

    parameters: tuple[Parameter, ...]
    takes_others: bool  # it has **kwargs

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the handler, converted.

        Numbers and booleans may come as strings.

        Raises:
            InvalidParameters: a field is missing, unexpected or of another type; each is named.
        """
        fields = {name: value for name, value in given.items() if name not in RESERVED}
        arguments: dict[str, Any] = {}
        problems: list[str] = []
        for parameter in self.parameters:
            if parameter.name in fields:
                value = fields.pop(parameter.name)
                try:
                    arguments[parameter.name] = convert(value, parameter.type)
                except (msgspec.ValidationError, ValueError) as exc:
                    given_text = "" if parameter.is_secret else f" (given: {shown(value)})"
                    problems.append(f"{parameter.name}: {exc}{given_text}")
            elif parameter.is_required:
                problems.append(f"{parameter.name}: missing; the handler requires it")
        if not self.takes_others:
            problems += [f"{name}: unexpected; {self._known()}" for name in sorted(fields)]
            fields = {}
        if problems:
            raise InvalidParameters(problems)
        return arguments | fields

    def secrets_in(self, given: Mapping[str, Any]) -> list[str]:
        """Return what of a task's parameters must not be shown, before they are checked."""
        values = [(given[one.name], one.type) for one in self.parameters if one.name in given]
        return [text for value, of in values for text in secrets_in(value, of)]

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the parameters object."""
        types = [parameter.type for parameter in self.parameters]
        schemas, components = msgspec.json.schema_components(types, schema_hook=schema_of_other)
        properties = {}
        for parameter, schema in zip(self.parameters, schemas, strict=True):
            properties[parameter.name] = with_default(dict(schema), parameter)
        required = [parameter.name for parameter in self.parameters if parameter.is_required]
        schema = {"type": "object", "properties": properties, "required": required}
        schema["additionalProperties"] = self.takes_others
        return schema | ({"$defs": dict(components)} if components else {})

    def _known(self) -> str:
        names = ", ".join(parameter.name for parameter in self.parameters)
        return f"the handler takes {names}" if names else "the handler takes no parameters"


def read_signature(function: Callable[..., Any]) -> Signature:
    """Read what a handler takes.

    Raises:
        TypeError: it has no parameter for the context, a positional-only or ``*args`` one, or an
            annotation that cannot be resolved or checked; the message names it.
    """
    name = getattr(function, "__qualname__", repr(function))
    hints = resolved_hints(function, name)
    parameters: list[Parameter] = []
    takes_others = False
    for one in after_context(function, name):
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            takes_others = True
        elif one.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            raise TypeError(f"handler {name}: parameters come by name, so {one} cannot be one")
        elif one.name in RESERVED:
            raise TypeError(f"handler {name}: `{one.name}` names {RESERVED[one.name]}; rename yours")
        else:
            parameters.append(Parameter(one.name, hints.get(one.name, Any), one.default))
    signature = Signature(tuple(parameters), takes_others)
    check_types(signature, name)
    return signature


def after_context(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    """Return the parameters behind the first, which takes the context."""
    parameters = list(inspect.signature(function).parameters.values())
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in by_position:
        raise TypeError(f"handler {name}: its first parameter must take the context: def {name}(ctx, …)")
    return parameters[1:]


def resolved_hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """Return the annotations, also those written as strings."""
    try:
        return typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except Exception as exc:
        raise TypeError(f"handler {name}: an annotation cannot be resolved: {exc}") from exc


def check_types(signature: Signature, name: str) -> None:
    """Raise TypeError that names the parameter whose type cannot be checked."""
    for parameter in signature.parameters:
        try:
            msgspec.convert(object(), parameter.type, strict=False, dec_hook=read_other)
        except TypeError as exc:
            raise TypeError(f"handler {name}: type of parameter {parameter.name}: {exc}") from exc
        except (msgspec.ValidationError, ValueError):
            pass  # the type is understood; only our probe is of another one


def convert(value: Any, to: Any) -> Any:
    """Convert one value, lax on numbers and booleans that come as strings."""
    try:
        return msgspec.convert(value, to, strict=False, dec_hook=read_other)
    except msgspec.ValidationError as exc:
        raise ValueError(readable(str(exc))) from exc


def readable(message: str) -> str:
    """Return msgspec's message in our words: ``expected int at .b[0], got str`` without its capital."""
    head, _, where = message.partition(" - at `$")
    text = head[:1].lower() + head[1:]
    return f"{text} at {where.rstrip('`')}" if where else text


def read_other(to: type, value: Any) -> Any:
    """Read the types that msgspec leaves to us: paths."""
    if issubclass(to, Path):
        if isinstance(value, str) and value and "\0" not in value:
            return to(value)
        raise ValueError("Expected `path`")
    raise NotImplementedError(f"{to!r} is no type of JSON")


def schema_of_other(of: type) -> dict[str, Any]:
    """Describe the types that msgspec leaves to us."""
    if issubclass(of, Path):
        return {"type": "string", "format": "path"}
    raise NotImplementedError


def with_default(schema: dict[str, Any], parameter: Parameter) -> dict[str, Any]:
    """Add the default where it can be written as JSON."""
    if parameter.is_required or parameter.is_secret:
        return schema
    try:
        default = msgspec.to_builtins(parameter.default, str_keys=True, enc_hook=str)
    except (TypeError, ValueError):
        return schema
    return schema | {"default": default}


def shown(value: Any) -> str:
    """Return a value for a message: short."""
    try:
        text = msgspec.json.encode(value, enc_hook=repr).decode()
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"
