"""Results become JSON objects, or a message that names the key."""

import datetime as dt
import enum
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from worker.sdk.result import NotAResult, encode_result, encode_value


class Level(enum.Enum):
    """An enumeration."""

    HIGH = "high"


@dataclass
class Box:
    """A dataclass."""

    width: int


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"a": [1, 2.5, "x", None, True]}, {"a": [1, 2.5, "x", None, True]}),
        (3, {"value": 3}),
        ([1], {"value": [1]}),
        ("text", {"value": "text"}),
        (Box(2), {"width": 2}),
        ({"when": dt.date(2026, 1, 2), "level": Level.HIGH}, {"when": "2026-01-02", "level": "high"}),
        ({"path": Path("/a"), "set": {1}, 5: "five"}, {"path": "/a", "set": [1], "5": "five"}),
    ],
)
def test_a_result_is_a_json_object(value: Any, expected: dict[str, Any]) -> None:
    """What JSON can say is said; anything but a mapping stands as `value`."""
    assert json.loads(encode_result(value, 1000)) == expected


def test_numbers_of_numpy_are_numbers() -> None:
    """Statistics of a mesh come as numpy scalars and arrays."""
    numpy = pytest.importorskip("numpy")
    value = {"volume": numpy.float64(1.5), "extents": numpy.array([1, 2])}
    assert json.loads(encode_result(value, 1000)) == {"volume": 1.5, "extents": [1, 2]}


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": {"b": [1, object()]}}, "result.a.b[1]"),
        ({"a": math.nan}, "result.a"),
        ({"a": [math.inf]}, "result.a[0]"),
        ({"a": "\ud800"}, "result.a"),
        (math.nan, "result.value"),
        ({(1, 2): 3}, "result"),
    ],
)
def test_what_json_cannot_say_is_named(value: Any, where: str) -> None:
    """Infinity and "not a number" are refused: null would be a lie."""
    with pytest.raises(NotAResult) as raised:
        encode_result(value, 1000)
    assert str(raised.value).startswith(f"{where} ")


def test_a_circle_is_refused() -> None:
    """A structure that contains itself ends as a message, not as a crash."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(NotAResult):
        encode_result({"circle": circle}, 1000)


def test_the_bound_counts_bytes_of_json() -> None:
    """At the bound is inside; one more is not."""
    assert encode_value("x" * 8, 10, "checkpoint") == b'"xxxxxxxx"'
    with pytest.raises(NotAResult, match="checkpoint has 11 bytes"):
        encode_value("x" * 9, 10, "checkpoint")
