"""Kinds of values in requests: how each is read, and its schema.

Numbers and booleans may come as strings, as the reference types them. A reader takes the JSON text
of a value and returns what the store keeps; it raises `ValueError` with what it wants instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from server.store.rules import MILLION
from server.times import to_ms
from worker.api import wire

__all__ = [
    "BOOLEAN",
    "ID",
    "INSTANT",
    "JOB_ID",
    "NUMBER",
    "OBJECT",
    "OBJECT_OR_TEXT",
    "PRIORITY",
    "PROGRESS",
    "TEXT",
    "Kind",
]

MOST_CHARACTERS_OF_ID: Final = 255
LARGEST_NUMBER: Final = 2**62  # a whole number stays one in the database
LARGEST_PRIORITY: Final = 2**31 - 1
LONGEST_KNOWN: Final = 8_192  # bytes of an object that was found right before, and is not read again
MOST_KNOWN: Final = 256  # of them; 10 MiB at most with the texts: a character may take four bytes there

# Nothing that a path, a query string or a log line would take apart.
ID_PATTERN: Final = re.compile(r"[^\s/?#%\\\x00-\x20\x7f]{1,255}")
LONGEST_INSTANT: Final = 40  # characters of one that is remembered; with microseconds and zone it has 32
NO_INSTANT: Final = "must be a time like 2020-03-18T21:29:15.899Z"
PATH_STEPS: Final = frozenset({".", ".."})  # clients take them out of a path
PATHS_BESIDE_JOBS: Final = frozenset({"tasks", "runs", "reports"})


class Kind(Struct, frozen=True):
    """A kind of value.

    `take` makes what the store keeps of a decoded value, or, where `is_raw`, of its JSON text.
    """

    take: Callable[[Any], Any]
    schema: dict[str, Any]
    is_raw: bool = False
    plain: type | None = None  # a type that says all that `take` looks at, and whose values it leaves alone

    def read(self, json: bytes) -> Any:
        """Return what the store keeps of a value in JSON."""
        return self.take(json if self.is_raw else _value(json))


def _value(json: bytes) -> Any:
    try:
        return msgspec.json.decode(json)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError("must be JSON of reasonable depth and size of numbers") from exc


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _id(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if not ID_PATTERN.fullmatch(value) or value in PATH_STEPS:
        raise ValueError(f"must be 1 to {MOST_CHARACTERS_OF_ID} characters without spaces, / ? # % or \\")
    return value


def _job_id(value: Any) -> str:
    text = _id(value)
    if text in PATHS_BESIDE_JOBS:
        raise ValueError(f"must not be {text!r}, which is a path of the API")
    return text


def _number(value: Any) -> float:
    if type(value) is int and 0 <= value <= LARGEST_NUMBER:
        return value
    number = value if type(value) is float else wire.as_float(value)
    if number is None or not 0 <= number <= LARGEST_NUMBER:  # nor anything that is no number
        raise ValueError("must be a number, not negative and not above 2**62")
    return int(number) if number.is_integer() else number


def _priority(value: Any) -> int:
    number = wire.as_float(value)
    if number is None or not number.is_integer() or abs(number) > LARGEST_PRIORITY:
        raise ValueError(f"must be a whole number between -{LARGEST_PRIORITY} and {LARGEST_PRIORITY}")
    return int(number)


def _progress(value: Any) -> int:
    if type(value) is int and 0 <= value <= 1:  # as at the begin and at the end
        return value * MILLION
    number = wire.as_float(value)
    if number is None:
        raise ValueError("must be a number between 0 and 1")
    return round(min(max(number, 0.0), 1.0) * MILLION)


def _boolean(value: Any) -> bool:
    flag = value if isinstance(value, bool) else wire.as_bool(value)
    if flag is None:
        raise ValueError("must be true or false")
    return flag


def _instant(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError(NO_INSTANT)
    return _known_instant(value) if len(value) <= LONGEST_INSTANT else _read_instant(value)


@lru_cache(maxsize=MOST_KNOWN)
def _known_instant(text: str) -> int:
    # Each report of a run says again when that started.
    return _read_instant(text)


def _read_instant(text: str) -> int:
    at = wire.parse_instant(text)
    if at is None:
        raise ValueError(NO_INSTANT)
    return to_ms(at)


def _object(json: bytes | Raw) -> str:
    json = bytes(json)
    if not isinstance(_value(json), dict):
        raise ValueError("must be an object")
    return json.decode()


def _object_or_text(json: bytes | Raw) -> str:
    json = bytes(json)
    return _known_object_or_text(json) if len(json) <= LONGEST_KNOWN else _read_object_or_text(json)


@lru_cache(maxsize=MOST_KNOWN)
def _known_object_or_text(json: bytes) -> str:
    # What an agent says of its machine is the same with every run.
    return _read_object_or_text(json)


def _read_object_or_text(json: bytes) -> str:
    value = _value(json)
    if isinstance(value, dict):
        return json.decode()
    if not isinstance(value, str):
        raise ValueError("must be an object, or a string that holds one")
    return _object_within(value)


def _object_within(text: str) -> str:
    try:
        return _object(text.encode())
    except ValueError:
        return msgspec.json.encode({"text": text}).decode()


def _or_text(kind: dict[str, Any], **text: Any) -> dict[str, Any]:
    """Return the schema of a value that may also come as a string, of a form that is surely taken."""
    return {"anyOf": [kind, {"type": "string", **text}]}


def _id_schema(but: str) -> dict[str, Any]:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": MOST_CHARACTERS_OF_ID,
        "pattern": rf"^(?!({but})$)[^\s/?#%\\\x00-\x20\x7f]+$",
    }


def _number_schema(**bounds: Any) -> dict[str, Any]:
    return _or_text({"type": "number", **bounds}, pattern=r"^[0-9]{1,15}(\.[0-9]{1,15})?$")


TEXT: Final = Kind(_text, {"type": "string"}, plain=str)
ID: Final = Kind(_id, _id_schema(r"\.{1,2}"))
JOB_ID: Final = Kind(_job_id, _id_schema(r"\.{1,2}|tasks|runs|reports"))
NUMBER: Final = Kind(_number, _number_schema(minimum=0, maximum=LARGEST_NUMBER))
PRIORITY: Final = Kind(
    _priority,
    _or_text(
        {"type": "integer", "minimum": -LARGEST_PRIORITY, "maximum": LARGEST_PRIORITY},
        pattern="^-?[0-9]{1,9}$",
    ),
)
PROGRESS: Final = Kind(_progress, _number_schema(minimum=0, maximum=1))
BOOLEAN: Final = Kind(_boolean, _or_text({"type": "boolean"}, enum=["true", "false"]))
INSTANT: Final = Kind(_instant, {"type": "string", "format": "date-time"})
OBJECT: Final = Kind(_object, {"type": "object"}, is_raw=True)
OBJECT_OR_TEXT: Final = Kind(_object_or_text, _or_text({"type": "object"}), is_raw=True)
