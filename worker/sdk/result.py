"""Turn what a handler returned into the JSON object of its run, or say which key cannot be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

import msgspec

__all__ = ["NotAResult", "encode_result", "encode_value"]


NULL: Final = b"null"


class NotAResult(Exception):  # noqa: N818 - what the value is
    """A value cannot be written as JSON, or is too large; the message says where and why."""


def encode_result(value: Any, max_bytes: int) -> bytes:
    """Return the run's result as a JSON object.

    A mapping (also a dataclass or Struct) stands as it is, None is an empty object, and any other
    value becomes ``{"value": …}``. Dates, UUIDs, enums, paths and numbers of numpy are written as
    JSON has them.

    Raises:
        NotAResult: a part of it is not JSON (infinity and "not a number" are not), or it is larger
            than `max_bytes`.
    """
    plain = {} if value is None else builtins_of(value, "result")
    return encode_plain(plain if isinstance(plain, dict) else {"value": plain}, max_bytes, "result")


def encode_value(value: Any, max_bytes: int, name: str) -> bytes:
    """Return any JSON-able value as JSON; `name` stands for it in messages.

    Raises:
        NotAResult: as for `encode_result`.
    """
    return encode_plain(builtins_of(value, name), max_bytes, name)


def encode_plain(plain: Any, max_bytes: int, name: str) -> bytes:
    """Return what `builtins_of` made as JSON, or raise as `encode_value`."""
    try:
        encoded = msgspec.json.encode(plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise NotAResult(f"{culprit(plain, name)} cannot be written as JSON: {exc}") from exc
    if NULL in encoded:  # as msgspec writes infinity and "not a number", too
        refuse_infinite(plain, name)
    if len(encoded) > max_bytes:
        raise NotAResult(
            f"{name} has {len(encoded)} bytes as JSON, more than {max_bytes}; "
            "write it to a file and hand that over with ctx.artifact"
        )
    return encoded


def refuse_infinite(plain: Any, name: str) -> None:
    """Raise NotAResult where a number is infinite or none."""
    for path, part in parts_of(plain, name):
        if isinstance(part, float) and not math.isfinite(part):
            raise NotAResult(f"{path} is {part}, which JSON cannot carry; return None where unknown")


def builtins_of(value: Any, name: str) -> Any:
    """Return the value made of dicts with string keys, lists, strings, numbers, booleans and None."""
    try:
        return msgspec.to_builtins(value, str_keys=True, enc_hook=plain_of_other)
    except (TypeError, ValueError, OverflowError, RecursionError, NotImplementedError) as exc:
        raise NotAResult(f"{culprit(value, name)} cannot be written as JSON: {exc}") from exc


def plain_of_other(value: Any) -> Any:
    """Return a plain value for types that msgspec leaves to us."""
    if isinstance(value, PurePath):
        return str(value)
    if type(value).__module__ == "numpy":  # without importing it: scalars and arrays both have tolist
        return value.tolist()
    raise NotImplementedError(f"{type(value).__qualname__} is no type of JSON")


def culprit(value: Any, name: str) -> str:
    """Return the path of the deepest part that cannot be written by itself, as ``result.frames[3]``."""
    for path, part in children_of(value, name):
        try:
            msgspec.json.encode(msgspec.to_builtins(part, str_keys=True, enc_hook=plain_of_other))
        except RecursionError:
            return name
        except Exception:  # noqa: BLE001 - whatever it is, this part is the one
            return culprit(part, path)
    return name


def parts_of(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its path."""
    if isinstance(value, Mapping | list):
        for path, part in children_of(value, name):
            yield from parts_of(part, path)
    else:
        yield name, value


def children_of(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the direct parts of a container with their paths."""
    if isinstance(value, Mapping):
        yield from ((f"{name}.{key}", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"{name}[{index}]", part) for index, part in enumerate(value))
