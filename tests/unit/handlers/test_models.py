"""The sample models: ours, small, the same on every machine, and sound but for one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trimesh

from handlers import models
from handlers.models import make, shapes
from handlers.models.surface import Surface, volume

OPEN = {"moebius.glb", "terrain.glb"}  # surfaces that enclose nothing


def load(name: str) -> trimesh.Scene:
    """Return a sample as trimesh reads it."""
    return trimesh.load_scene(models.folder() / name)


def test_the_files_in_the_repository_are_what_the_script_makes() -> None:
    """Whoever changes a shape commits its file too: both hold the same bytes."""
    stored = {path.name: path.read_bytes() for path in models.folder().glob("*.glb")}
    assert stored == make.make_all()


def test_two_runs_of_the_script_write_the_same_bytes(tmp_path: Path) -> None:
    """Nothing of the clock, of hashing order or of chance is in a model."""
    first, second = tmp_path / "first", tmp_path / "second"
    for target in (first, second):
        target.mkdir()
        make.write_all(target)
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }


def test_there_are_enough_of_them_and_they_stay_small() -> None:
    """At least eight sound models and a broken one, below 300 kB together."""
    files = [*models.paths(), models.folder() / models.BROKEN]
    assert len(files) >= 9
    assert sum(path.stat().st_size for path in files) < 300_000


@pytest.mark.parametrize("path", models.paths(), ids=lambda path: path.stem)
def test_every_sound_model_is_a_proper_surface(path: Path) -> None:
    """Bodies are watertight and face outward; the two open surfaces are known as such."""
    mesh = load(path.name).to_mesh()
    assert len(mesh.faces) > 500
    assert mesh.is_watertight == (path.name not in OPEN)
    assert path.name in OPEN or mesh.volume > 0


@pytest.mark.parametrize(
    ("name", "euler"), [("bolt.glb", 2), ("gear.glb", 0), ("moebius.glb", 0), ("lattice.glb", -160)]
)
def test_shapes_have_the_topology_that_their_names_promise(name: str, euler: int) -> None:
    """A bolt is a ball, a gear has one hole, a sponge of level two has 81."""
    assert load(name).to_mesh().euler_number == euler


def test_the_strip_of_moebius_has_one_side() -> None:
    """Its triangles cannot all agree on which way is out."""
    assert not load("moebius.glb").to_mesh().is_winding_consistent


def test_the_scene_uses_one_mesh_many_times_under_nested_transforms() -> None:
    """The orrery exercises instances, nesting, a matrix and a mirror image."""
    scene = load("orrery.glb")
    assert len(scene.geometry) == 3
    assert len(scene.graph.nodes_geometry) == 7


def test_the_lamp_has_several_primitives_in_one_mesh() -> None:
    """Each part of the stand keeps its own material."""
    assert len(load("lamp.glb").geometry) == 4


def test_the_broken_model_ends_in_its_binary_chunk() -> None:
    """Its header is sound and promises more than there is."""
    content = (models.folder() / models.BROKEN).read_bytes()
    assert content[:4] == b"glTF"
    assert int.from_bytes(content[8:12], "little") > len(content)


@pytest.mark.parametrize("shape", [shapes.gear, shapes.icosphere, shapes.lattice, shapes.spring, shapes.vase])
def test_closed_shapes_face_outward_before_they_are_written(shape: object) -> None:
    """The signed volume of a closed surface is positive."""
    assert callable(shape)
    surface = shape()
    assert isinstance(surface, Surface)
    assert volume(surface) > 0
