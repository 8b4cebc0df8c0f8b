"""A broken file fails with a sentence that names the file and what is wrong."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from handlers import models
from handlers.mesh_convert import mesh_convert
from tests.unit.handlers.glb_files import CORNERS, TRIANGLE, glb
from worker import Fail
from worker.sdk.testing import ToldContext

GEAR = (models.folder() / "gear.glb").read_bytes()
MANY = TRIANGLE["accessors"][0] | {"count": 10**12}
NAN = struct.pack("<9f", float("nan"), 0, 0, 1, 0, 0, 0, 1, 0)
FAR = struct.pack("<9f", 3e38, 0, 0, 1, 0, 0, 0, 1, 0)


def changed(**fields: Any) -> bytes:
    """Return the triangle's file with other fields in its description."""
    return glb(TRIANGLE | fields)


def primitive(**fields: Any) -> list[dict[str, Any]]:
    """Return the meshes of a file with one primitive."""
    return [{"primitives": [{"attributes": {"POSITION": 0}} | fields]}]


BROKEN = {
    "nothing": (b"", "x.glb is empty: it has 0 bytes"),
    "text": (b"<html>not found</html>", "x.glb is no GLB file: it begins with b'<htm'"),
    "header only": (GEAR[:7], "x.glb is cut off: it has 7 bytes"),
    "first chunk missing": (GEAR[:12], "x.glb is cut off: it has 12 bytes, and its header promises 14,720"),
    "cut in json": (GEAR[:200], "it ends in its JSON chunk"),
    "cut in binary": (GEAR[:9000], "it ends in its BIN chunk"),
    "cut by one byte": (GEAR[:-1], "x.glb is cut off: it has 14,719 bytes, and its header promises 14,720"),
    "version": (GEAR[:4] + b"\1" + GEAR[5:], "x.glb is a GLB of version 1; only version 2"),
    "no json": (struct.pack("<4sII", b"glTF", 2, 12), "x.glb has no description"),
    "huge json": (GEAR[:12] + b"\xff\xff\xff\x7f" + GEAR[16:], "x.glb has a description of 2,147,483,647"),
    "json": (glb(b"{nonsense}"), "x.glb is damaged: its description is no JSON"),
    "deep json": (glb(b"[" * 100_000), "x.glb is damaged: its description is no JSON"),
    "no object": (glb(b"[]"), "x.glb is no glTF 2: its asset.version is 'None'"),
    "gltf 1": (changed(asset={"version": "1.0"}), "x.glb is no glTF 2: its asset.version is '1.0'"),
    "binary too short": (glb(TRIANGLE, CORNERS[:12]), "it describes 36 bytes of binary content and holds 12"),
    "meshopt": (
        changed(extensionsRequired=["EXT_meshopt_compression"]),
        "x.glb is compressed with EXT_meshopt_compression, which cannot be read here",
    ),
    "no scene": (glb({"asset": {"version": "2.0"}}), "x.glb"),
    "no meshes": (changed(meshes=[], nodes=[{}]), "x.glb"),
    "not placed": (changed(scenes=[{"nodes": []}], nodes=[{}]), "x.glb"),
    "points": (changed(meshes=primitive(mode=0)), "x.glb holds no mesh: it has nothing but 1 part(s)"),
    "lines": (changed(meshes=primitive(mode=1)), "x.glb holds no mesh"),
    "accessor": (changed(meshes=primitive(attributes={"POSITION": 7})), "x.glb cannot be read as GLB: "),
    "too many": (changed(accessors=[MANY]), "x.glb has 1,000,000,000,000 points or more; max_triangles of"),
    "cycle": (changed(nodes=[{"children": [1]}, {"mesh": 0, "children": [0]}]), "x.glb"),
    "matrix": (changed(nodes=[{"mesh": 0, "matrix": [1, 2]}]), "x.glb"),
    "no number": (glb(TRIANGLE, NAN), "x.glb is damaged: some of its coordinates are infinite or no numbers"),
    "far away": (glb(TRIANGLE, FAR), "x.glb is damaged: one of its meshes lies beyond 1e+25"),
    "scaled away": (changed(nodes=[{"mesh": 0, "scale": [1e35, 1, 1]}]), "x.glb is damaged: one of its"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_glb_is_explained(ctx: ToldContext, tmp_path: Path, case: str) -> None:
    """One line, the file's name, and no traceback of a library."""
    content, message = BROKEN[case]
    (tmp_path / "x.glb").write_bytes(content)
    with pytest.raises(Fail) as failure:
        mesh_convert(ctx, input=str(tmp_path / "x.glb"))
    assert message in str(failure.value)
    assert len(str(failure.value).splitlines()) == 1
    assert len(str(failure.value)) < 500
    assert ctx.told.artifacts == {}


def test_the_broken_sample_is_explained(ctx: ToldContext) -> None:
    """The demo shows this sentence."""
    with pytest.raises(Fail) as failure:
        mesh_convert(ctx, input=str(models.folder() / models.BROKEN))
    assert str(failure.value) == (
        "broken.glb is cut off: it has 8,832 bytes, and its header promises 14,720 "
        "(it ends in its BIN chunk); get the file again"
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.stl", b"solid nothing\nendsolid nothing\n"),
        ("x.stl", b"\0" * 200),
        ("x.stl", b"\0" * 80 + struct.pack("<I", 1000) + b"\0" * 50),
        ("x.ply", b"ply\nformat ascii 1.0\nelement vertex 3\n"),
        ("x.ply", b"nonsense"),
        ("x.obj", b"nonsense\n"),
        ("x.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"),
        ("x.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n"),
        ("x.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        ("x.gltf", b"nonsense"),
        ("x.gltf", json.dumps(TRIANGLE).encode()),
    ],
)
def test_broken_files_of_other_formats_are_explained(
    ctx: ToldContext, tmp_path: Path, name: str, content: bytes
) -> None:
    """The name of the file stands first."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        Fail, match=rf"^{name} (cannot be read as|holds no mesh|is damaged|is cut off)"
    ) as failure:
        mesh_convert(ctx, input=str(tmp_path / name))
    assert len(str(failure.value).splitlines()) == 1


def test_a_gltf_whose_buffer_is_not_there_names_it(ctx: ToldContext, tmp_path: Path) -> None:
    """A glTF that came alone needs its other file."""
    (tmp_path / "x.gltf").write_text(json.dumps(TRIANGLE | {"buffers": [{"uri": "x.bin", "byteLength": 36}]}))
    with pytest.raises(Fail, match=r"x\.gltf needs the file 'x\.bin' beside it, .* pack both into a GLB"):
        mesh_convert(ctx, input=str(tmp_path / "x.gltf"))


@pytest.mark.parametrize(
    ("name", "said"), [("x.fbx", "x.fbx ends in .fbx"), ("x", "x has no ending"), ("x.glb.gz", "ends in .gz")]
)
def test_a_format_that_cannot_be_read_names_those_that_can(ctx: ToldContext, name: str, said: str) -> None:
    """Before anything is fetched."""
    with pytest.raises(
        Fail, match="the formats that can be read are glb, gltf, obj, stl, ply, off, 3mf"
    ) as failure:
        mesh_convert(ctx, input=f"/nowhere/{name}")
    assert said in str(failure.value)


def test_a_format_that_cannot_be_written_names_those_that_can(ctx: ToldContext) -> None:
    """Also where nobody checked the parameter before."""
    wrong: Any = "fbx"
    with pytest.raises(
        Fail, match="format 'fbx' is not known; allowed are stl, stl-ascii, ply, obj, off, glb, gltf, 3mf"
    ):
        mesh_convert(ctx, input=str(models.folder() / "gear.glb"), format=wrong)


def test_a_file_that_is_not_there_is_named(ctx: ToldContext) -> None:
    """By the context, which knows the machine."""
    with pytest.raises(Fail, match=r"/nowhere/x\.glb"):
        mesh_convert(ctx, input="/nowhere/x.glb")


def test_what_has_a_query_is_named_without_it(ctx: ToldContext) -> None:
    """Signed addresses carry secrets."""
    with pytest.raises(Fail) as failure:
        mesh_convert(ctx, input="https://example.invalid/a/x.fbx?signature=s3cret")
    assert "s3cret" not in str(failure.value)
    assert str(failure.value).startswith("x.fbx ends in .fbx")
