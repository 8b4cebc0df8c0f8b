"""Check a task's parameters against the annotations of its handler.

Imported by the child that runs or describes a handler, never with `worker.sdk` itself.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from worker.sdk.errors import InvalidParameters
from worker.sdk.models import is_model, read_model
from worker.sdk.problems import MISSING, fields_of, find_problems
from worker.sdk.secret import has_secret, secrets_in
from worker.sdk.whole import extras_of, known_names

__all__ = ["RESERVED", "Parameter", "Signature", "read_signature"]

RESERVED = {  # read by the agent, never passed to a handler
    "requires": "what a task needs of a machine",
    "limits": "what time and memory a task may take",
    "retry": "how a task is tried again",
}
WHOLE: Final = ("parameters", "params")  # so named, a parameter with fields takes all of a task's parameters


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
    whole: Parameter | None = (
        None  # the one that takes all parameters as one object; then there are no others
    )

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the handler, converted.

        Numbers and booleans may come as strings.

        Raises:
            InvalidParameters: a field is missing, unexpected or of another type; each is named, those
                inside of others by their path, as ``camera.fov``.
        """
        fields = {name: value for name, value in given.items() if name not in RESERVED}
        arguments, problems = (
            self._check_each(fields) if self.whole is None else self._check_whole(self.whole, fields)
        )
        if problems:
            raise InvalidParameters(problems)
        return arguments

    def _check_each(self, fields: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        arguments: dict[str, Any] = {}
        problems: list[str] = []
        for parameter in self.parameters:
            if parameter.name in fields:
                value = fields.pop(parameter.name)
                try:
                    arguments[parameter.name] = convert(value, parameter.type)
                except ValueError:
                    problems += find_problems(value, parameter.type, parameter.name, convert)
            elif parameter.is_required:
                problems.append(f"{parameter.name}: {MISSING}")
        if fields and not self.takes_others:
            problems += unexpected(fields, [parameter.name for parameter in self.parameters])
            fields = {}
        return arguments | fields, problems

    def _check_whole(self, whole: Parameter, fields: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        problems = []
        if extras_of(whole.type) is None:
            known = known_names(whole.type) or frozenset()
            others = {name: value for name, value in fields.items() if name not in known}
            problems = unexpected(others, sorted(known))
            fields = {name: value for name, value in fields.items() if name in known}
        try:
            return {whole.name: convert(fields, whole.type)}, problems
        except ValueError:
            found = find_problems(fields, whole.type, "", convert)
            return {}, [one.removeprefix(".").removeprefix(": ") for one in found] + problems

    @property
    def takes_secrets(self) -> bool:
        """Tell whether a value, or a part of one, may be a secret: without, there is nothing to look for."""
        return any(one.is_secret for one in (self.parameters if self.whole is None else (self.whole,)))

    def secrets_in(self, given: Mapping[str, Any]) -> list[str]:
        """Return what of a task's parameters must not be shown, before they are checked."""
        if self.whole is not None:
            return list(secrets_in(dict(given), self.whole.type))
        values = [(given[one.name], one.type) for one in self.parameters if one.name in given]
        return [text for value, of in values for text in secrets_in(value, of)]

    def schema(self, doc: str = "") -> dict[str, Any]:
        """Return the JSON Schema of the parameters object, described by the handler's docstring."""
        from worker.sdk.schema import describe_parameters  # noqa: PLC0415 - a child that runs needs none

        return describe_parameters(self.parameters, self.takes_others, self.whole, doc)


def unexpected(fields: Mapping[str, Any], known: list[str]) -> list[str]:
    """Return a problem for each field that nothing takes."""
    names = ", ".join(known)
    takes = f"the handler takes {names}" if names else "the handler takes no parameters"
    return [f"{name}: unexpected; {takes}" for name in sorted(fields)]


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
    signature = split_whole(parameters, takes_others, name)
    check_types(signature, name)
    return signature


def split_whole(parameters: list[Parameter], takes_others: bool, name: str) -> Signature:
    """Return the signature; one parameter `parameters` or `params` with fields takes them all.

    Raises:
        TypeError: it cannot, because of others beside it, a default, or a field that is the agent's.
    """
    wholes = [one for one in parameters if one.name in WHOLE and known_names(one.type) is not None]
    if not wholes:
        return Signature(tuple(parameters), takes_others)
    whole = wholes[0]
    if len(parameters) > 1 or takes_others:
        raise TypeError(
            f"handler {name}: `{whole.name}` takes all parameters of a task as one {class_name(whole.type)},"
            " so there can be no other; rename it if it is one parameter among others"
        )
    if not whole.is_required:
        raise TypeError(f"handler {name}: `{whole.name}` has a default; give them to its fields")
    for reserved in RESERVED.keys() & (known_names(whole.type) or ()):
        raise TypeError(
            f"handler {name}: field `{reserved}` of {class_name(whole.type)} names {RESERVED[reserved]};"
            " rename yours"
        )
    return Signature((), False, whole)


def class_name(of: Any) -> str:
    """Return the name of a class, for messages."""
    return getattr(of, "__name__", str(of))


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
    whole = () if signature.whole is None else (signature.whole,)
    for parameter in (*signature.parameters, *whole):
        try:
            for inner in types_in(parameter.type):
                if has_validator_of_its_own(inner):
                    raise TypeError(f"{class_name(inner)} is a dataclass of pydantic; make it a BaseModel")
            msgspec.convert(object(), parameter.type, strict=False, dec_hook=read_other)
            has_secret(parameter.type)  # a model must be describable
        except TypeError as exc:
            raise TypeError(f"handler {name}: type of parameter {parameter.name}: {exc}") from exc
        except (msgspec.ValidationError, ValueError):
            pass  # the type is understood; only our probe is of another one


def types_in(of: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """Yield a type and those inside of it, each once."""
    seen = set() if seen is None else seen
    if id(of) in seen:
        return
    seen.add(id(of))
    yield of
    for inner in (*typing.get_args(of), *(field.type for field in fields_of(of) or ())):
        yield from types_in(inner, seen)


def has_validator_of_its_own(of: Any) -> bool:
    """Tell whether a class is a dataclass of pydantic, whose checks msgspec would pass by."""
    return isinstance(of, type) and hasattr(of, "__pydantic_validator__") and not is_model(of)


def convert(value: Any, to: Any) -> Any:
    """Convert one value, lax on numbers and booleans that come as strings.

    Raises:
        ValueError: it does not fit; the message is msgspec's, of the first part that does not.
    """
    try:
        return msgspec.convert(value, to, strict=False, dec_hook=read_other)
    except msgspec.ValidationError as exc:
        raise ValueError(str(exc)) from exc


def read_other(to: type, value: Any) -> Any:
    """Read the types that msgspec leaves to us: paths, and models of pydantic."""
    if issubclass(to, Path):
        if isinstance(value, str) and value and "\0" not in value:
            return to(value)
        raise ValueError("Expected `path`")
    if is_model(to):
        return read_model(to, value)
    raise NotImplementedError(f"{to!r} is no type of JSON")
