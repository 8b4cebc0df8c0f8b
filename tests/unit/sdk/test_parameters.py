"""Parameters are checked against annotations before a handler starts."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec
import pytest

from worker.sdk import Context
from worker.sdk.errors import InvalidParameters
from worker.sdk.parameters import read_signature


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


@dataclass
class Box:
    """A dataclass."""

    width: int
    tags: list[str]


class Options(TypedDict, total=False):
    """A typed dict."""

    depth: int


class Point(msgspec.Struct):
    """A struct."""

    x: float


def everything(  # type: ignore[no-untyped-def]
    ctx: Context,
    *,
    size: int,
    path: Path,
    factor: float = 1.0,
    mode: Literal["a", "b"] = "a",
    colour: Colour = Colour.RED,
    box: Box | None = None,
    options: Options | None = None,
    point: Point | None = None,
    flag: bool = False,
    paths: list[Path] | None = None,
    anything: Any = None,
    untyped=3,
) -> None:
    """Take every kind of type."""


def test_values_arrive_as_their_annotations_say() -> None:
    """JSON becomes paths, enums, dataclasses, structs; numbers may come as strings."""
    arguments = read_signature(everything).check(
        {
            "size": "512",
            "path": "/a/b",
            "factor": "0.5",
            "mode": "b",
            "colour": "red",
            "box": {"width": 2, "tags": ["x"]},
            "options": {"depth": 1},
            "point": {"x": 1},
            "flag": "true",
            "paths": ["/c"],
            "anything": [1, {}],
            "untyped": "as it is",
            "requires": {"gpus": 1},
            "limits": {"timeout": "5m"},
        }
    )
    assert arguments == {
        "size": 512,
        "path": Path("/a/b"),
        "factor": 0.5,
        "mode": "b",
        "colour": Colour.RED,
        "box": Box(2, ["x"]),
        "options": {"depth": 1},
        "point": Point(1.0),
        "flag": True,
        "paths": [Path("/c")],
        "anything": [1, {}],
        "untyped": "as it is",
    }


def test_defaults_are_left_to_the_function() -> None:
    """Only what was given is passed."""
    assert read_signature(everything).check({"size": 1, "path": "x"}) == {"size": 1, "path": Path("x")}


def test_all_problems_come_at_once_by_name() -> None:
    """A person mends a task once, not field by field."""
    with pytest.raises(InvalidParameters) as raised:
        read_signature(everything).check(
            {
                "size": "big",
                "mode": "c",
                "box": {"width": 1, "tags": [2]},
                "paths": [""],
                "more": 1,
                "flag": None,
            }
        )
    told = {problem.partition(":")[0]: problem for problem in raised.value.problems}
    assert told.keys() == {"size", "path", "mode", "box.tags[0]", "paths[0]", "more", "flag"}
    assert "missing" in told["path"]
    assert "unexpected" in told["more"]
    assert told["box.tags[0]"] == "box.tags[0]: expected `str`, got `int` (given: 2)"
    assert '"big"' in told["size"]


def test_long_values_are_cut_in_messages() -> None:
    """A megabyte of parameter does not become a megabyte of error."""
    with pytest.raises(InvalidParameters) as raised:
        read_signature(everything).check({"size": "x" * 1_000_000, "path": "x"})
    assert len(str(raised.value)) < 300


def test_keyword_arguments_take_anything() -> None:
    """`**kwargs` gets what is not declared, beside what is."""

    def loose(ctx: Context, *, size: int = 1, **others: Any) -> None: ...

    assert read_signature(loose).check({"size": "2", "x": "3"}) == {"size": 2, "x": "3"}


def test_the_schema_tells_what_a_task_needs() -> None:
    """JSON Schema with types, defaults and what is required."""
    schema = read_signature(everything).schema()
    assert schema["required"] == ["size", "path"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["size"] == {"type": "integer"}
    assert schema["properties"]["path"] == {"type": "string", "format": "path"}
    assert schema["properties"]["mode"] == {"enum": ["a", "b"], "default": "a"}
    assert schema["properties"]["colour"]["default"] == "red"
    assert schema["$defs"]["Box"]["required"] == ["width", "tags"]
    msgspec.json.encode(schema)


def no_context() -> None:
    """Take nothing."""


def only_keywords(*, size: int) -> None:
    """Take no context."""


def positional(ctx: Context, *sizes: int) -> None:
    """Take what has no name."""


def bounded(ctx: Context, *, limits: int) -> None:
    """Take a name that is the agent's."""


def placed(ctx: Context, *, requires: int) -> None:
    """Take the agent's word."""


def mixed(ctx: Context, *, where: Path | int) -> None:
    """Take what cannot be told apart."""


def dangling(ctx: Context, *, where: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Take a type that does not exist."""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_context, "context"),
        (only_keywords, "context"),
        (positional, "come by name"),
        (placed, "requires"),
        (bounded, "limits"),
        (mixed, "where"),
        (dangling, "Nowhere"),
    ],
)
def test_a_signature_that_cannot_work_is_refused_with_its_reason(function: Any, message: str) -> None:
    """The author sees it when the handler is loaded, with the parameter's name."""
    with pytest.raises(TypeError, match=message) as raised:
        read_signature(function)
    assert function.__name__ in str(raised.value)
