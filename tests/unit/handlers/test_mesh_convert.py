"""Meshes come out as they went in: read back, they have the same faces, bounds and volume."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from handlers import models
from handlers.mesh_convert import mesh_convert
from tests.unit.handlers import threemf_files
from tests.unit.handlers.glb_files import TRIANGLE, glb, parts
from worker import Cancelled, Fail
from worker.sdk.result import encode_result
from worker.sdk.testing import ToldContext, make_context

FORMATS = ("stl", "stl-ascii", "ply", "obj", "off", "glb", "gltf", "3mf")
CARRIES_UNIT = ("glb", "gltf", "3mf")
SAMPLES = models.paths()


def sample(name: str) -> str:
    """Return the path of a sample model as a task gives it."""
    return str(models.folder() / f"{name}.glb")


def read_back(ctx: ToldContext, result: dict[str, Any]) -> trimesh.Trimesh:
    """Read the output with trimesh, joined to one mesh with points at the same place made one."""
    path = ctx.told.artifacts[result["output"]]
    if path.suffix == ".3mf":  # trimesh would need lxml and networkx
        return threemf_files.read(path)
    mesh: trimesh.Trimesh = trimesh.load_scene(path).to_mesh()
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    return mesh


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_comes_back_with_the_same_shape(ctx: ToldContext, path: Path, format_: Any) -> None:
    """Faces, bounds and volume, for every sample in every format."""
    result = mesh_convert(ctx, input=str(path), format=format_)
    mesh, source = read_back(ctx, result), trimesh.load_scene(path).to_mesh()
    assert result["faces"] == len(mesh.faces) == len(source.faces)
    assert np.allclose(mesh.bounds, source.bounds, atol=1e-5)
    assert np.allclose(result["bounds"], source.bounds, atol=1e-5)
    assert result["watertight"] is mesh.is_watertight is source.is_watertight
    if source.is_watertight:
        assert mesh.volume == pytest.approx(source.volume, rel=1e-4)
        assert result["volume"] == pytest.approx(source.volume, rel=1e-6)


@pytest.mark.parametrize("format_", FORMATS)
def test_the_result_says_what_was_made(ctx: ToldContext, format_: Any) -> None:
    """Names, sizes and statistics, in the shape that JSON carries; every file is an artifact."""
    result = mesh_convert(ctx, input=sample("gear"), format=format_)
    ending = format_.removesuffix("-ascii")
    made = ctx.told.artifacts[f"gear.{ending}"]
    assert json.loads(encode_result(result, 4096)) == result
    assert (result["input"], result["output"]) == ("gear.glb", f"gear.{ending}")
    assert result["bytes"] == made.stat().st_size
    assert result["files"] == list(ctx.told.artifacts)
    assert result["bodies"] == 1
    assert result["eulerNumber"] == 0  # a body with one hole
    assert result["volumeReason"] is None
    assert result["extents"] == pytest.approx([1.99238, 0.4, 1.99238], abs=1e-5)
    note = f"{format_} holds no unit: who reads it has to know that its lengths are in m"
    assert result["warnings"] == ([] if format_ in CARRIES_UNIT else [note])
    assert (result["unitsIn"], result["unitsOut"], result["facesIn"]) == ("m", "m", 1152)
    kinds = {"glb": "gltf-binary", "gltf": "gltf+json"}
    assert ctx.told.content_types[made.name] == f"model/{kinds.get(format_, ending)}"


def test_progress_tells_every_step_and_ends_at_one(ctx: ToldContext) -> None:
    """In order, each with what is being done."""
    mesh_convert(ctx, input=sample("gear"))
    ratios = [ratio for ratio, _ in ctx.told.progress]
    assert ratios == sorted(ratios)
    assert len(ratios) >= 6
    assert ctx.told.progress[-1] == (1.0, "1,152 triangles")


def test_a_surface_that_is_open_has_no_volume_and_says_why(ctx: ToldContext) -> None:
    """Null with a reason, never a number that means nothing."""
    result = mesh_convert(ctx, input=sample("moebius"))
    assert (result["volume"], result["volumeReason"]) == (None, "the surface is not closed")
    assert result["watertight"] is False
    assert result["area"] > 0


@pytest.mark.parametrize(("turned", "reason"), [("all", "the triangles face inside"), ("half", "disagree")])
def test_a_closed_surface_that_is_turned_has_no_volume(
    ctx: ToldContext, tmp_path: Path, turned: str, reason: str
) -> None:
    """The sum would be negative, or of no meaning."""
    box = trimesh.creation.box()
    count = len(box.faces) if turned == "all" else len(box.faces) // 2
    box.faces[:count] = box.faces[:count, ::-1]
    box.export(tmp_path / "box.ply")
    result = mesh_convert(ctx, input=str(tmp_path / "box.ply"))
    assert result["volume"] is None
    assert reason in result["volumeReason"]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("scale", [0.001, 1000.0])
def test_scale_is_a_factor_of_every_length(ctx: ToldContext, format_: Any, scale: float) -> None:
    """For scenes with nodes too, in the file as in the statistics."""
    result = mesh_convert(ctx, input=sample("orrery"), format=format_, scale=scale)
    source = trimesh.load_scene(sample("orrery")).to_mesh()
    assert np.allclose(result["bounds"], source.bounds * scale, rtol=1e-5, atol=1e-6 * scale)
    assert np.allclose(read_back(ctx, result).bounds, source.bounds * scale, rtol=1e-4, atol=1e-5 * scale)
    assert result["volume"] == pytest.approx(source.volume * scale**3, rel=1e-5)


@pytest.mark.parametrize("format_", FORMATS)
def test_merge_makes_one_mesh(ctx: ToldContext, format_: Any) -> None:
    """Seven instances become one mesh with the same faces."""
    result = mesh_convert(ctx, input=sample("orrery"), format=format_, merge=True)
    path = ctx.told.artifacts[result["output"]]
    if format_ == "3mf":
        assert len(threemf_files.read(path).faces) == 3328
    else:
        scene = trimesh.load_scene(path)
        assert len(scene.geometry) == 1
        assert len(scene.to_mesh().faces) == result["faces"] == 3328
    assert result["bodies"] == 7


def test_a_scene_stays_a_scene_in_glb(ctx: ToldContext) -> None:
    """Instances are not copied."""
    result = mesh_convert(ctx, input=sample("orrery"), format="glb")
    scene = trimesh.load_scene(ctx.told.artifacts[result["output"]])
    assert (len(scene.geometry), len(scene.graph.nodes_geometry)) == (3, 7)


@pytest.mark.parametrize(("format_", "count"), [("obj", 4), ("glb", 4)])
def test_materials_keep_their_colours(ctx: ToldContext, format_: Any, count: int) -> None:
    """OBJ has them in a library beside it, which is an artifact too."""
    result = mesh_convert(ctx, input=sample("lamp"), format=format_)
    scene = trimesh.load_scene(ctx.told.artifacts[result["output"]])
    colors = {tuple(part.visual.material.main_color) for part in scene.geometry.values()}
    source = trimesh.load_scene(sample("lamp")).geometry.values()
    assert colors == {tuple(part.visual.material.main_color) for part in source}
    assert len(colors) == count
    assert result["files"] == (["lamp.obj", "lamp.mtl"] if format_ == "obj" else ["lamp.glb"])


def test_an_obj_names_its_library_as_it_is_called(ctx: ToldContext) -> None:
    """Both lie in one folder, whatever the output is called."""
    mesh_convert(ctx, input=sample("lamp"), format="obj", output="light")
    assert "mtllib light.mtl" in ctx.told.artifacts["light.obj"].read_text().splitlines()
    assert "newmtl" in ctx.told.artifacts["light.mtl"].read_text()


@pytest.mark.parametrize(("name", "colors"), [("terrain", 5), ("lamp", 4)])
def test_ply_has_the_colours_of_points_and_of_materials(ctx: ToldContext, name: str, colors: int) -> None:
    """One a vertex."""
    result = mesh_convert(ctx, input=sample(name), format="ply")
    visual: Any = trimesh.load_mesh(ctx.told.artifacts[result["output"]]).visual
    assert visual.kind == "vertex"
    assert len(np.unique(visual.vertex_colors, axis=0)) == colors


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("source", ["stl", "ply", "obj", "off", "glb", "gltf", "STL"])
def test_every_input_format_can_be_read(ctx: ToldContext, tmp_path: Path, source: str, format_: Any) -> None:
    """And gives the same closed shape, split points or not."""
    box = trimesh.creation.box(extents=(1, 2, 3))
    path = tmp_path / f"box.{source}"
    if source == "gltf":
        for name, content in trimesh.Scene(box).export(file_type="gltf").items():
            (tmp_path / (path.name if name == "model.gltf" else name)).write_bytes(content)
    else:
        path.write_bytes(as_bytes(box.export(file_type=source.lower())))
    result = mesh_convert(ctx, input=str(path), format=format_)
    assert result["volume"] == pytest.approx(6.0)
    assert (result["vertices"], result["faces"], result["eulerNumber"]) == (8, 12, 2)


def as_bytes(content: Any) -> bytes:
    """Return what an exporter made as bytes."""
    assert isinstance(content, str | bytes)
    return content.encode() if isinstance(content, str) else content


def test_points_that_colours_have_split_do_not_open_the_shape(ctx: ToldContext, tmp_path: Path) -> None:
    """The points are counted as they are in the file, the shape is closed; merge makes them one."""
    box = trimesh.creation.box()
    split = trimesh.Trimesh(box.vertices[box.faces.ravel()], np.arange(36).reshape(-1, 3), process=False)
    (tmp_path / "split.ply").write_bytes(as_bytes(split.export(file_type="ply")))
    result = mesh_convert(ctx, input=str(tmp_path / "split.ply"), format="ply")
    assert (result["vertices"], result["watertight"], result["volume"]) == (36, True, pytest.approx(1.0))
    again = make_context(ctx.workdir)
    assert mesh_convert(again, input=str(tmp_path / "split.ply"), format="ply", merge=True)["vertices"] == 8


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_statistics_hold_at_every_size(ctx: ToldContext, tmp_path: Path, size: float) -> None:
    """No tolerance that fits one unit only: a model in metres may be a nanometre, far from the origin."""
    box = trimesh.creation.box(extents=(size, size, size))
    box.apply_translation([1000 * size, 0, 0])
    path = tmp_path / "box.glb"
    path.write_bytes(as_bytes(trimesh.Scene(box).export(file_type="glb")))
    result = mesh_convert(ctx, input=str(path), format="stl")
    assert (result["watertight"], result["bodies"], result["eulerNumber"]) == (True, 1, 2)
    assert result["volume"] == pytest.approx(size**3, rel=1e-3)
    assert result["extents"] == pytest.approx([size] * 3, rel=1e-3)


def test_triangles_without_extent_do_not_open_the_shape(ctx: ToldContext, tmp_path: Path) -> None:
    """They are kept in the file and in the count."""
    box = trimesh.creation.box()
    faces = np.vstack([box.faces, [[0, 0, 1], [2, 2, 2]]])
    odd = trimesh.Trimesh(box.vertices, faces, process=False)
    (tmp_path / "odd.ply").write_bytes(as_bytes(odd.export(file_type="ply")))
    result = mesh_convert(ctx, input=str(tmp_path / "odd.ply"), format="obj")
    assert (result["faces"], result["watertight"], result["bodies"]) == (14, True, 1)


def test_a_mesh_of_nothing_but_points_in_one_place_has_no_shape(ctx: ToldContext, tmp_path: Path) -> None:
    """Zero pieces, and no volume."""
    path = tmp_path / "dot.glb"
    path.write_bytes(glb(TRIANGLE, bytes(36)))
    result = mesh_convert(ctx, input=str(path))
    assert (result["bodies"], result["volume"], result["area"], result["watertight"]) == (0, None, 0.0, False)
    assert result["volumeReason"] == "none of the triangles has an extent"


@pytest.mark.parametrize("scale", [0, -1, 1e-10, 1e10, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(ctx: ToldContext, scale: float) -> None:
    """Nothing is turned inside out, or made to nothing."""
    with pytest.raises(Fail, match=r"scale must be a number from 1e-09 to 1e[+]09"):
        mesh_convert(ctx, input=sample("gear"), scale=scale)


def test_the_largest_model_at_the_largest_scale_still_has_numbers(ctx: ToldContext, tmp_path: Path) -> None:
    """Nothing overflows: JSON and files carry no infinity."""
    far = np.array([[0, 0, 0], [1e25, 0, 0], [0, 1e25, 0], [0, 0, 1e25]], dtype=np.float32)
    (tmp_path / "far.glb").write_bytes(glb(TRIANGLE, far[1:].tobytes()))
    result = mesh_convert(ctx, input=str(tmp_path / "far.glb"), scale=1e9)
    assert encode_result(result, 4096)
    mesh = trimesh.load_mesh(ctx.told.artifacts[result["output"]], process=False)
    assert np.isfinite(mesh.vertices).all()
    assert mesh.vertices.max() == pytest.approx(1e34)


def test_a_stop_is_seen_between_the_steps(ctx: ToldContext) -> None:
    """Nothing more is written."""
    ctx.ask_to_stop()
    with pytest.raises(Cancelled):
        mesh_convert(ctx, input=sample("gear"))
    assert ctx.told.artifacts == {}


@pytest.mark.parametrize("format_", FORMATS)
def test_textures_that_cannot_be_read_are_told(
    ctx: ToldContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: Any
) -> None:
    """Without Pillow a textured model is converted, and the result says what is missing."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    description, binary = parts((models.folder() / "gear.glb").read_bytes())
    description["images"] = [{"uri": "data:image/png;base64,iVBORw0KGgo="}]
    description["textures"] = [{"source": 0}]
    description["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    path = tmp_path / "textured.glb"
    path.write_bytes(glb(description, binary))
    result = mesh_convert(ctx, input=str(path), format=format_)
    told = "textures are left out: Pillow is not installed on this worker"
    assert result["warnings"][0] == told
    assert ("warning", f"textured.glb: {told}") in [(level, text) for level, text, _ in ctx.told.logs]
    assert result["faces"] == 1152


@pytest.mark.parametrize("missing", ["trimesh", "numpy"])
def test_without_the_extra_the_message_says_what_to_install(missing: str) -> None:
    """Whoever installed the agent alone learns the one command."""
    code = f"import sys; sys.modules[{missing!r}] = None; import handlers.mesh_convert"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "pip install 'millhand[mesh]'" in ended.stderr.splitlines()[-1]
