"""Every format to every other one and back: shape, size and place stay, whatever the numbers are."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers import models
from handlers.mesh_convert import mesh_convert
from worker import Fail
from worker.sdk.testing import ToldContext, make_context

GEAR = str(models.folder() / "gear.glb")
FORMATS = ("stl", "stl-ascii", "ply", "obj", "off", "glb", "gltf", "3mf")
SINGLE = 2e-6  # single precision, which STL, PLY and glTF have


def scene_of_two() -> trimesh.Scene:
    """Return a ball and an instance of it that is turned, moved and larger, and a box."""
    scene = trimesh.Scene()
    ball = trimesh.creation.icosphere(subdivisions=1)
    ball.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 0, 0, 255])
    )
    box = trimesh.creation.box(extents=(1, 2, 3))
    turn: Any = trimesh.transformations.rotation_matrix(0.7, (1, 2, 3), (3, 1, 0))
    scene.add_geometry(ball, geom_name="ball", node_name="one", transform=np.diag([1.0, 1, 1, 1]))
    scene.graph.update(frame_to="two", matrix=turn @ np.diag([2.0, 2, 2, 1]), geometry="ball")
    move = np.eye(4)
    move[:3, 3] = (10, -4, 2)
    scene.add_geometry(box, geom_name="box", node_name="three", transform=move)
    return scene


def convert(folder: Path, source: Path, format_: Any, **parameters: Any) -> tuple[dict[str, Any], Path]:
    """Convert a file in a new folder of a run; return the result and the output."""
    folder.mkdir()
    ctx = make_context(folder)
    result = mesh_convert(ctx, input=str(source), format=format_, **parameters)
    return result, ctx.told.artifacts[result["output"]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene as a GLB."""
    path = tmp_path_factory.mktemp("original") / "scene.glb"
    content: Any = scene_of_two().export(file_type="glb")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("first", "second"), list(product(FORMATS, FORMATS)))
def test_a_scene_survives_two_formats(original: Path, tmp_path: Path, first: str, second: str) -> None:
    """Triangles, bounds, area, volume and closedness, by the statistics of what is read back."""
    before, one = convert(tmp_path / "1", original, first)
    _, two = convert(tmp_path / "2", one, second, units_in="m")
    after, _ = convert(tmp_path / "3", two, "glb", units_in="m")
    size = max(before["extents"])
    assert after["faces"] == before["faces"] == 172
    assert np.allclose(after["bounds"], before["bounds"], atol=SINGLE * size)
    assert after["volume"] == pytest.approx(before["volume"], rel=1e-4)
    assert after["area"] == pytest.approx(before["area"], rel=1e-4)
    assert (after["watertight"], after["bodies"], after["openEdges"], after["crowdedEdges"]) == (
        True,
        3,
        0,
        0,
    )


@pytest.mark.parametrize("format_", ["glb", "gltf", "3mf"])
def test_instances_and_colours_survive_where_the_format_has_them(
    original: Path, tmp_path: Path, format_: str
) -> None:
    """One mesh of the two balls is stored once, and is red after two conversions."""
    _, one = convert(tmp_path / "1", original, format_)
    _, two = convert(tmp_path / "2", one, "glb")
    scene = trimesh.load_scene(two)
    assert (len(scene.geometry), len(scene.graph.nodes_geometry)) == (2, 3)
    colours = [getattr(part.visual, "material", None) for part in scene.geometry.values()]
    assert [255, 0, 0, 255] in [list(one.main_color) for one in colours if one is not None]


def test_a_gltf_names_its_buffer_as_it_is_called(original: Path, tmp_path: Path) -> None:
    """Also a name with spaces, which stands as an address in there."""
    result, path = convert(tmp_path / "1", original, "gltf", output="a part.gltf")
    assert result["files"] == ["a part.gltf", "a part.bin"]
    assert '"uri":"a%20part.bin"' in path.read_text()
    assert convert(tmp_path / "2", path, "glb")[0]["faces"] == 172


@pytest.mark.parametrize("format_", FORMATS)
def test_the_same_input_gives_the_same_bytes(original: Path, tmp_path: Path, format_: str) -> None:
    """No times, no random names."""
    contents = [convert(tmp_path / name, original, format_)[1].read_bytes() for name in ("1", "2")]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("size", [1e-9, 1e-3, 1e9])
def test_no_size_is_too_small_for_a_format(tmp_path: Path, format_: str, size: float) -> None:
    """Text formats do not round a nanometre to nothing."""
    content: Any = trimesh.Scene(trimesh.creation.box(extents=(size, size, size))).export(file_type="glb")
    (tmp_path / "box.glb").write_bytes(content)
    _, one = convert(tmp_path / "1", tmp_path / "box.glb", format_)
    after, _ = convert(tmp_path / "2", one, "glb", units_in="m")
    assert after["extents"] == pytest.approx([size] * 3, rel=1e-5)
    assert after["watertight"] is True


@given(
    st.lists(
        st.tuples(*[st.floats(-1e3, 1e3, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)] * 3),
        min_size=3, max_size=12, unique=True,
    ),
    st.sampled_from(FORMATS),
)  # fmt: skip
@settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)  # fmt: skip
def test_any_triangles_come_back(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[float, ...]], format_: str
) -> None:
    """Whatever they are: as many, and between the same bounds."""
    folder = tmp_path_factory.mktemp("any")
    faces = [[at, at + 1, at + 2] for at in range(len(points) - 2)]
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in points] + [
        f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces
    ]
    (folder / "any.obj").write_text("\n".join(lines))
    before, one = convert(folder / "1", folder / "any.obj", format_)
    after, _ = convert(folder / "2", one, "off")
    assert after["faces"] == before["faces"] == len(faces)
    assert np.allclose(after["bounds"], before["bounds"], rtol=1e-6, atol=1e-6 * max(before["extents"]))


@pytest.mark.parametrize(
    ("output", "name"),
    [
        (None, "gear.stl"),
        ("part", "part.stl"),
        ("part.stl", "part.stl"),
        ("v1.2", "v1.2.stl"),
        ("A.STL", "A.STL"),
        ("ä" * 125, "ä" * 125 + ".stl"),
        ("x" * 251, "x" * 251 + ".stl"),
    ],
)
def test_the_output_is_called_as_wanted(ctx: ToldContext, output: str | None, name: str) -> None:
    """Its ending is that of the format."""
    assert mesh_convert(ctx, input=GEAR, output=output)["output"] == name
    assert name in ctx.told.artifacts


@pytest.mark.parametrize(
    "output",
    [
        "../x.stl",
        "/x",
        "a/b",
        "a\\b",
        "",
        "..",
        "a\nb",
        "x" * 252,
        "ä" * 126,
        "ä" * 126 + ".stl",
        "x.ply",
        "x.gltf",
    ],
)
def test_an_output_that_is_no_name_is_refused(ctx: ToldContext, output: str) -> None:
    """Also one that ends like another format."""
    with pytest.raises(Fail, match=r"^output "):
        mesh_convert(ctx, input=GEAR, output=output)
    assert list(ctx.workdir.iterdir()) == []


def test_a_name_that_becomes_too_long_is_refused_before_anything_is_fetched(ctx: ToldContext) -> None:
    """By the ending of the format, which has a letter more than that of the input."""
    with pytest.raises(Fail, match=r"^output 'xx.* has 256 bytes with its ending"):
        mesh_convert(ctx, input=f"/nowhere/{'x' * 251}.stl", format="gltf")
