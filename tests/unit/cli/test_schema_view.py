"""JSON Schema in words: what a person types, and what they may leave out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from worker.cli.schema_view import example_of, rows_of
from worker.sdk import Context, Secret
from worker.sdk.parameters import read_signature


@dataclass
class Camera:
    """A part."""

    fov: Annotated[float, msgspec.Meta(gt=0, lt=180, description="degrees")]
    lens: Literal["wide", "tele"] = "wide"


class Node(msgspec.Struct):
    """A part of itself."""

    name: str
    inner: list[Node] = []


DOC = "Do it.\n\nArgs:\n    size: pixels of an edge."


def render(
    ctx: Context,
    *,
    input: str,  # noqa: A002 - the usual name
    size: Annotated[int, msgspec.Meta(ge=1, le=4096)],
    camera: Camera,
    mode: Literal["fast", "two words"],
    key: Secret | None = None,
    out: Path = Path("a.png"),
    cameras: list[Camera] | None = None,
    more: dict[str, int] | None = None,
    note: str = "x" * 100,
) -> None:
    """Do it."""


def test_each_parameter_has_a_row_and_each_field_one_behind_it() -> None:
    """With what values it takes, the default, and what it is."""
    rows = {row.name: row[1:] for row in rows_of(read_signature(render).schema(DOC))}
    assert rows["size"] == ("integer, from 1 to 4096", "required", "pixels of an edge.")
    assert rows["camera"][:2] == ("object", "required")
    assert rows["camera.fov"] == ("number, above 0 below 180", "required", "degrees")
    assert rows["camera.lens"][:2] == ('"tele" | "wide"', '"wide"')
    assert rows["cameras"][:2] == ("list of object or null", "null")
    assert "cameras[].fov" in rows
    assert rows["key"][:2] == ("secret or null", "")
    assert rows["out"][:2] == ("string (path)", '"a.png"')
    assert rows["more"][0] == "object of integer or null"
    assert len(rows["note"][1]) == 40


def test_a_type_that_holds_itself_has_an_end() -> None:
    """Three levels are shown."""

    def walk(ctx: Context, *, top: Node) -> None: ...

    walk.__annotations__["top"] = Node
    assert [row.name for row in rows_of(read_signature(walk).schema())] == [
        "top", "top.name", "top.inner", "top.inner[].name", "top.inner[].inner",
    ]  # fmt: skip


def test_the_example_gives_what_is_required() -> None:
    """A value that fits where the schema knows one, quoted for a shell."""
    schema = read_signature(render).schema()
    assert example_of("render", schema) == (
        "millhand submit render FILE -p size=1 -p camera='{…}' -p mode=fast"
    )
    assert example_of("a", {"properties": {"b": {"enum": ["two words"]}}, "required": ["b"]}) == (
        "millhand submit a -p b='two words'"
    )


def test_a_schema_that_leads_nowhere_is_shown_all_the_same() -> None:
    """It may come from another version of a handler's library."""
    odd: dict[str, Any] = {
        "properties": {"a": {"$ref": "#/$defs/A"}, "b": {}, "c": {"$ref": "#/$defs/None"}},
        "$defs": {"A": {"$ref": "#/$defs/A"}},
    }
    assert [row[:3] for row in rows_of(odd)] == [("a", "any", ""), ("b", "any", ""), ("c", "any", "")]
