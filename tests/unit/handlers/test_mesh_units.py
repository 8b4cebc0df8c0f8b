"""Units and axes: converted exactly, refused where nobody knows them, told where a format cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from handlers.mesh_convert import mesh_convert
from handlers.meshes.units import MICROMETRES, check_size, planned_units
from tests.unit.handlers import threemf_files
from worker import Fail
from worker.sdk.testing import ToldContext, make_context

UNITS = ("mm", "cm", "m", "in", "ft")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A box of 1 × 2 × 3 that stands on the origin, as STL, which says no unit."""
    path = tmp_path / "box.stl"
    mesh = trimesh.creation.box(bounds=((0, 0, 0), (1, 2, 3)))
    content: Any = mesh.export(file_type="stl")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("given_", "wanted", "factor"),
    [
        ("in", "mm", 25.4), ("mm", "in", 1 / 25.4), ("ft", "in", 12), ("m", "mm", 1000), ("cm", "m", 0.01),
        ("ft", "m", 0.3048), ("mm", "mm", 1),
    ],
)  # fmt: skip
def test_lengths_are_converted(box: Path, ctx: ToldContext, given_: Any, wanted: Any, factor: float) -> None:
    """In file and statistics; `scale` is a factor beside it."""
    result = mesh_convert(ctx, input=str(box), format="ply", units_in=given_, units_out=wanted, scale=2)
    assert result["extents"] == pytest.approx([2 * factor, 4 * factor, 6 * factor], rel=1e-7)
    assert (result["unitsIn"], result["unitsOut"]) == (given_, wanted)
    assert trimesh.load_mesh(ctx.told.artifacts["box.ply"]).extents == pytest.approx(
        result["extents"], rel=1e-6
    )


@given(st.sampled_from(UNITS), st.sampled_from(UNITS))
def test_there_and_back_is_nothing(one: str, other: str) -> None:
    """For every two units."""
    there = planned_units("x", None, "ply", one, other).factor
    back = planned_units("x", None, "ply", other, one).factor
    assert there * back == pytest.approx(1, rel=1e-15)
    assert there == MICROMETRES[one] / MICROMETRES[other]


def test_a_unit_that_nobody_knows_is_not_converted(box: Path, ctx: ToldContext) -> None:
    """Wanted: an error that says what to give. Not wanted: numbers as they are, and null."""
    with pytest.raises(Fail, match=r"^box\.stl does not say which unit .* give units_in beside units_out"):
        mesh_convert(ctx, input=str(box), units_out="mm")
    result = mesh_convert(ctx, input=str(box), format="off")
    assert (result["unitsIn"], result["unitsOut"], result["warnings"]) == (None, None, [])
    assert result["extents"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("format_", "meant"), [("glb", "glb is read as metres"), ("3mf", "3mf is read as millimetres")]
)
def test_a_format_that_means_a_unit_says_what_was_guessed(
    box: Path, ctx: ToldContext, format_: Any, meant: str
) -> None:
    """The numbers stay; the warning says how they will be read."""
    result = mesh_convert(ctx, input=str(box), format=format_)
    assert result["warnings"] == [f"the unit of the input is not known, and {meant}: give units_in"]
    assert result["extents"] == [1, 2, 3]


def test_gltf_is_in_metres(box: Path, ctx: ToldContext) -> None:
    """What is known to be inches becomes metres by itself; anything else is warned of."""
    result = mesh_convert(ctx, input=str(box), format="glb", units_in="in")
    assert result["extents"] == pytest.approx([0.0254, 0.0508, 0.0762])
    assert (result["unitsOut"], result["warnings"]) == ("m", [])
    again = make_context(ctx.workdir)
    said = mesh_convert(again, input=str(box), format="glb", units_in="in", units_out="mm")["warnings"]
    assert said == ["lengths are in mm as units_out says, but every program reads glb as metres"]


@pytest.mark.parametrize(("word", "unit"), [("inch", "in"), ("meter", "m"), ("micron", "um"), ("foot", "ft")])
def test_a_3mf_says_its_unit(tmp_path: Path, ctx: ToldContext, word: str, unit: str) -> None:
    """It is read, converted from, and written."""
    document = threemf_files.model(
        f'<object id="1">{threemf_files.TETRAHEDRON}</object>', '<item objectid="1"/>', f'unit="{word}"'
    )
    (tmp_path / "a.3mf").write_bytes(threemf_files.package(document))
    result = mesh_convert(ctx, input=str(tmp_path / "a.3mf"), format="3mf", scale=1)
    assert (result["unitsIn"], result["unitsOut"]) == (unit, unit)
    again = make_context(ctx.workdir)
    result = mesh_convert(again, input=str(ctx.told.artifacts["a.3mf"]), format="stl", units_out="mm")
    assert result["unitsIn"] == unit
    assert max(result["extents"]) == pytest.approx(MICROMETRES[unit] / 1000)


def test_the_task_knows_better_than_the_file(tmp_path: Path, ctx: ToldContext) -> None:
    """And the warning says so."""
    document = threemf_files.model(
        f'<object id="1">{threemf_files.TETRAHEDRON}</object>', '<item objectid="1"/>'
    )
    (tmp_path / "a.3mf").write_bytes(threemf_files.package(document))
    result = mesh_convert(ctx, input=str(tmp_path / "a.3mf"), format="3mf", units_in="in", units_out="mm")
    assert result["warnings"] == ["taken as in, as units_in says; by the file it would be mm"]
    assert max(result["extents"]) == pytest.approx(25.4)


@pytest.mark.parametrize(
    ("largest", "unit", "is_odd"),
    [
        (1, "m", False), (2000, "m", True), (2000, "mm", False), (0.05, "mm", True), (1, None, False),
        (0, "m", False), (1e9, None, False), (40_000, "in", True), (0.1, "mm", False), (1000, "m", False),
    ],
)  # fmt: skip
def test_a_size_that_can_hardly_be_is_told(largest: float, unit: str | None, is_odd: bool) -> None:
    """Smaller than a tenth of a millimetre, larger than a kilometre; nothing without a unit."""
    assert bool(check_size(largest, unit)) is is_odd


@pytest.mark.parametrize(
    ("up_in", "up", "extents"),
    [("z", "y", [1, 3, 2]), ("y", "z", [1, 3, 2]), ("y", "y", [1, 2, 3]), (None, None, [1, 2, 3])],
)
def test_another_axis_may_point_up(
    box: Path, ctx: ToldContext, up_in: Any, up: Any, extents: list[int]
) -> None:
    """A quarter about x; what was up is up, and nothing is mirrored."""
    result = mesh_convert(ctx, input=str(box), format="ply", up_in=up_in, up=up)
    assert result["extents"] == extents
    assert result["volume"] == pytest.approx(6)


def test_turning_there_and_back_is_nothing(box: Path, ctx: ToldContext) -> None:
    """What was above the ground is above it afterwards."""
    turned = mesh_convert(ctx, input=str(box), format="ply", up_in="z", up="y")
    assert turned["bounds"] == [[0, 0, -2], [1, 3, 0]]
    path = str(ctx.told.artifacts["box.ply"])
    again = mesh_convert(make_context(ctx.workdir), input=path, format="off", up_in="y", up="z")
    assert again["bounds"] == [[0, 0, 0], [1, 2, 3]]


def test_an_axis_that_nobody_knows_is_not_turned(box: Path, ctx: ToldContext) -> None:
    """STL says none; glTF and 3MF do by their standards."""
    with pytest.raises(Fail, match=r"^box\.stl does not say which axis is up; give up_in beside up"):
        mesh_convert(ctx, input=str(box), up="y")
    mesh_convert(ctx, input=str(box), format="glb", units_in="m")
    path = str(ctx.told.artifacts["box.glb"])
    assert mesh_convert(make_context(ctx.workdir), input=path, up="z")["extents"] == [1, 3, 2]


def test_the_middle_may_lie_at_the_origin(box: Path, ctx: ToldContext) -> None:
    """Of the bounds, after scale and turn."""
    result = mesh_convert(ctx, input=str(box), scale=2, centre=True, up_in="z", up="y")
    assert result["bounds"] == [[-1, -3, -2], [1, 3, 2]]
