"""Fewer triangles, the same shape: how many are left, what stays, and what is said to be lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from handlers import models
from handlers.mesh_convert import mesh_convert
from worker import Fail
from worker.sdk.testing import ToldContext, make_context


def sample(name: str) -> str:
    """Return the path of a sample model as a task gives it."""
    return str(models.folder() / f"{name}.glb")


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05])
def test_a_closed_shape_stays_closed_and_nearly_as_large(
    ctx: ToldContext, tmp_path: Path, share: float
) -> None:
    """As many triangles as asked for, within a few; bounds and volume within what so many can say."""
    content: Any = trimesh.Scene(trimesh.creation.icosphere(subdivisions=5)).export(file_type="glb")
    (tmp_path / "ball.glb").write_bytes(content)
    result = mesh_convert(ctx, input=str(tmp_path / "ball.glb"), format="glb", ratio=share)
    assert result["facesIn"] == 20480
    assert result["faces"] == pytest.approx(20480 * share, rel=0.02)
    assert result["watertight"] is True
    assert result["volume"] == pytest.approx(4 / 3 * np.pi, rel=0.02)
    assert np.allclose(result["bounds"], [[-1] * 3, [1] * 3], atol=0.03)
    assert result["warnings"] == []


def test_so_many_triangles_are_shared_out(ctx: ToldContext) -> None:
    """In proportion over all meshes, instances counted each, which stay instances.

    The wheel's long thin triangles cannot be joined, and it is said that more are left than asked for.
    """
    result = mesh_convert(ctx, input=sample("orrery"), format="glb", triangles=1000)
    assert (result["facesIn"], result["watertight"], result["bodies"]) == (3328, True, 7)
    assert result["faces"] == pytest.approx((3328 - 576) * 1000 / 3328 + 576, rel=0.05)
    assert result["warnings"] == [
        "1,018 triangles are left of 2,048: no more can be joined without tearing or turning the shape"
    ]
    scene = trimesh.load_scene(ctx.told.artifacts["orrery.glb"])
    assert (len(scene.geometry), len(scene.graph.nodes_geometry)) == (3, 7)


def test_materials_stay(ctx: ToldContext) -> None:
    """Each mesh has the colour that it had."""
    mesh_convert(ctx, input=sample("lamp"), format="glb", ratio=0.5)
    made, source = trimesh.load_scene(ctx.told.artifacts["lamp.glb"]), trimesh.load_scene(sample("lamp"))

    def colours(scene: trimesh.Scene) -> set[Any]:
        parts: Any = scene.geometry.values()
        return {tuple(part.visual.material.main_color) for part in parts}

    assert colours(made) == colours(source)


def test_colours_of_points_are_those_of_the_points_that_became_one(ctx: ToldContext, tmp_path: Path) -> None:
    """A ball that is red above and blue below stays so; between are means of both."""
    ball = trimesh.creation.icosphere(subdivisions=4)
    ball.visual.vertex_colors = np.where(ball.vertices[:, 2:] > 0, [255, 0, 0, 255], [0, 0, 255, 255])
    content: Any = ball.export(file_type="ply")
    (tmp_path / "ball.ply").write_bytes(content)
    mesh_convert(ctx, input=str(tmp_path / "ball.ply"), format="ply", ratio=0.1)
    made = trimesh.load_mesh(ctx.told.artifacts["ball.ply"], process=False)
    visual: Any = made.visual
    colours = np.asarray(visual.vertex_colors)
    assert len(colours) == len(made.vertices) < 500
    assert (colours[made.vertices[:, 2] > 0.3] == [255, 0, 0, 255]).all()
    assert (colours[made.vertices[:, 2] < -0.3] == [0, 0, 255, 255]).all()


def test_a_texture_is_lost_and_said_to_be(ctx: ToldContext, tmp_path: Path) -> None:
    """Its mean colour stays."""
    from handlers.meshes.decimation import decimated

    class Image:
        """Something in the place of a picture, since Pillow is none of our dependencies."""

        def copy(self) -> Image:
            return self

    ball = trimesh.creation.icosphere(subdivisions=3)
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=[10, 20, 30, 255])
    material._data["baseColorTexture"] = Image()
    ball.visual = trimesh.visual.TextureVisuals(uv=np.zeros((len(ball.vertices), 2)), material=material)
    scene, warnings = decimated(trimesh.Scene(ball), 0.5, lambda: None)
    assert warnings == ["textures are left out: points that move have no place in them"]
    part: Any = next(iter(scene.geometry.values()))
    assert list(part.visual.material.main_color) == [10, 20, 30, 255]


@pytest.mark.parametrize("size", [1e-9, 1e12])
def test_no_size_is_too_small_or_too_large(ctx: ToldContext, tmp_path: Path, size: float) -> None:
    """Errors are squared while edges are chosen; far from the origin too."""
    ball = trimesh.creation.icosphere(subdivisions=3, radius=size)
    ball.apply_translation([100 * size, 0, 0])
    content: Any = trimesh.Scene(ball).export(file_type="glb")
    (tmp_path / "ball.glb").write_bytes(content)
    result = mesh_convert(ctx, input=str(tmp_path / "ball.glb"), format="stl", ratio=0.5)
    assert result["faces"] == pytest.approx(640, abs=4)
    assert result["extents"] == pytest.approx([2 * size] * 3, rel=0.03)


def test_pieces_that_are_gone_are_told(ctx: ToldContext, tmp_path: Path) -> None:
    """Ten boxes cannot stand in forty triangles, and not at all in four."""
    box = trimesh.creation.box()
    moves = [np.array([3 * at, 0, 0]) for at in range(10)]
    points, faces = [box.vertices + move for move in moves], [box.faces + 8 * at for at in range(10)]
    content: Any = trimesh.Trimesh(np.vstack(points), np.vstack(faces), process=False).export(file_type="ply")
    (tmp_path / "boxes.ply").write_bytes(content)
    result = mesh_convert(ctx, input=str(tmp_path / "boxes.ply"), triangles=4)
    assert result["bodies"] < 10
    assert f"{10 - result['bodies']} small piece(s) are gone" in result["warnings"]


def test_more_triangles_than_there_are_changes_nothing(ctx: ToldContext) -> None:
    """Nor does the whole."""
    plain = mesh_convert(ctx, input=sample("gear"), format="glb")
    for wish in ({"triangles": 10**6}, {"ratio": 1.0}):
        again = make_context(ctx.workdir)
        assert mesh_convert(again, input=sample("gear"), format="glb", **wish) == plain


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"triangles": 3}, "triangles must be 4 or more, not 3"),
        ({"ratio": 0.0}, "ratio must be more than 0 and at most 1"),
        ({"ratio": 1.5}, "ratio must be more than 0 and at most 1"),
        ({"ratio": float("nan")}, "ratio must be more than 0 and at most 1"),
        ({"ratio": 0.5, "triangles": 10}, "give triangles or ratio, not both"),
    ],
)
def test_a_wish_that_is_none_is_refused(ctx: ToldContext, wish: dict[str, Any], said: str) -> None:
    """Before anything is fetched."""
    with pytest.raises(Fail, match=f"^{said}"):
        mesh_convert(ctx, input="/nowhere/x.glb", **wish)


def test_without_its_library_the_message_says_what_to_install(
    ctx: ToldContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older installation of the extra may lack it; everything else goes on."""
    monkeypatch.setitem(sys.modules, "fast_simplification", None)
    with pytest.raises(Fail, match=r"pip install 'millhand\[mesh\]'"):
        mesh_convert(ctx, input=sample("gear"), ratio=0.5)
    assert mesh_convert(ctx, input=sample("gear"))["faces"] == 1152
