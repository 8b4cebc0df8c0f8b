"""Files that promise, hide or multiply: each ends at a bound, with a sentence, in little memory."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from handlers import models
from handlers.mesh_convert import mesh_convert
from tests.unit.handlers.glb_files import CORNERS, TRIANGLE, glb
from worker import Cancelled, Fail
from worker.sdk.testing import ToldContext

MANY = 4_000_000_000
ROW = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
OFF = b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n"
PLY = "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"
PLY += "element face {}\nproperty list uchar int vertex_indices\nend_header\n"


def placed_often(count: int) -> bytes:
    """Return a GLB that places its one triangle so many times."""
    nodes = [{"mesh": 0} for _ in range(count)]
    return glb(TRIANGLE | {"nodes": nodes, "scenes": [{"nodes": list(range(count))}]})


def used_often(accessors: list[dict[str, Any]], uses: list[dict[str, int]]) -> bytes:
    """Return a glTF of these arrays, whose primitives have these attributes."""
    buffers = [{"byteLength": 4, "uri": "data:application/octet-stream;base64,AAAAAA=="}]
    meshes = [{"primitives": [{"attributes": use} for use in uses]}]
    changes: dict[str, Any] = {"accessors": accessors, "buffers": buffers, "meshes": meshes}
    return json.dumps(TRIANGLE | changes | {"bufferViews": [{"buffer": 0, "byteLength": 4}]}).encode()


POINTS = {"componentType": 5126, "type": "VEC3", "count": 900, "min": [0, 0, 0], "max": [0, 0, 0]}
HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "stl header": (
        "x.stl",
        b"\0" * 80 + struct.pack("<I", MANY) + b"\0" * 50,
        "is cut off: it has 134 bytes, and its header promises 4,000,000,000 triangles, which",
    ),
    "stl with more": (
        "x.stl",
        b"\0" * 80 + struct.pack("<I", 1) + b"\0" * 99,
        "is damaged: it has 183 bytes",
    ),
    "stl stub": ("x.stl", b"\0" * 20, "is cut off: it has 20 bytes, less than the header of an STL"),
    "stl text": ("x.stl", f"solid x\n{ROW * 2000}endsolid x\n".encode(), "has 2,000 triangles or more"),
    "stl binary": (
        "x.stl",
        b"\0" * 80 + struct.pack("<I", 2000) + b"\0" * 100_000,
        "has 2,000 triangles or more",
    ),
    "stl that says solid": (
        "x.stl",
        b"solid".ljust(80, b"\0") + struct.pack("<I", MANY) + b"\0" * 50,
        "is cut off: it has 134 bytes",
    ),
    "ply text": ("x.ply", PLY.format("ascii", MANY, 1).encode(), "has 4,000,000,000 points or more"),
    "ply faces": (
        "x.ply",
        PLY.format("binary_little_endian", 3, MANY).encode(),
        "has 4,000,000,000 triangles",
    ),
    "ply short": (
        "x.ply",
        PLY.format("binary_little_endian", 3, 900).encode(),
        "its header promises 900 elements",
    ),
    "ply word": ("x.ply", PLY.format("ascii", "-3", 1).encode(), "b'-3' is no number of points or faces"),
    "ply without end": (
        "x.ply",
        b"ply\n" + b"comment x\n" * 100_000,
        "is damaged: it has no header of a PLY",
    ),
    "off header": ("x.off", f"OFF\n{MANY} 1 0\n".encode(), "has 4,000,000,000 points or more"),
    "off faces": ("x.off", f"OFF 3 {MANY} 0\n".encode(), "has 4,000,000,000 triangles or more"),
    "off short": (
        "x.off",
        OFF.replace(b" 1 ", b" 2 ", 1) + b"3 0 1 2\n",
        "promises 3 points and 2 faces, and it has 3 and 1",
    ),
    "off polygon": (
        "x.off",
        OFF + b"5000 " + b"0 1 2 " * 1700,
        "has 4,998 triangles or more",
    ),
    "off index": ("x.off", OFF + b"3 0 1 7\n", "cannot be read as OFF: "),
    "off negative": ("x.off", OFF + b"3 0 1 -1\n", "cannot be read as OFF: "),
    "off without counts": ("x.off", b"OFF\n", "its header does not say how many"),
    "off text": ("x.off", b"<html>", "is damaged: it has no header of an OFF"),
    "obj polygon": (
        "x.obj",
        b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf" + b" 1 2 3" * 1700,
        "has 5,098 triangles or more",
    ),
    "obj points": ("x.obj", b"v 0 0 0\n" * 4000, "has 4,000 points or more"),
    "obj line": ("x.obj", b"f " + b"1 " * 600_000, "is damaged: its line 1 has more than 1,048,576 bytes"),
    "accessor without bytes": (
        "x.glb",
        glb(TRIANGLE | {"accessors": [{"componentType": 5126, "count": 10**9, "type": "VEC3"}]}),
        "has 1,000,000,000 points or more",
    ),
    "many accessors": (
        "x.gltf",
        used_often([POINTS] * 30, [{"POSITION": at} for at in range(30)]),
        "has 27,000 points or more",
    ),
    "one accessor used often": (
        "x.gltf",
        used_often([POINTS], [{"POSITION": 0}] * 29 + [{"POSITION": -1}]),
        "has 27,000 points or more",
    ),
    "placed often": ("x.glb", placed_often(2000), "has 2,000 triangles or more"),
    "outside": (
        "x.gltf",
        json.dumps(TRIANGLE | {"buffers": [{"uri": "../secret.bin", "byteLength": 36}]}).encode(),
        "needs the file '../secret.bin' beside it, which is not there",
    ),
    "outside, escaped": (
        "x.gltf",
        json.dumps(TRIANGLE | {"buffers": [{"uri": "%2e%2e/secret.bin", "byteLength": 36}]}).encode(),
        "which is not there",
    ),
    "link": (
        "x.gltf",
        json.dumps(TRIANGLE | {"buffers": [{"uri": "link.bin", "byteLength": 36}]}).encode(),
        "needs the file 'link.bin' beside it, which is not there",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for inputs; above it lies a file that is nobody's input, and a link leads there."""
    (tmp_path / "secret.bin").write_bytes(CORNERS)
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    return folder


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_ends_at_a_bound(ctx: ToldContext, folder: Path, case: str) -> None:
    """In one line that begins with the name of the file."""
    name, content, said = HOSTILE[case]
    (folder / name).write_bytes(content)
    with pytest.raises(Fail) as failure:
        mesh_convert(ctx, input=str(folder / name), max_triangles=1000)
    assert said in str(failure.value)
    assert str(failure.value).startswith(f"{name} ")
    assert len(str(failure.value).splitlines()) == 1
    assert ctx.told.artifacts == {}


CHILD = """
import resource, sys
from pathlib import Path
from handlers.mesh_convert import mesh_convert
from worker import Fail
from worker.sdk.testing import make_context
here = sum(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (here + 256 * 1024**2,) * 2)
for path in sys.argv[2:]:
    try:
        mesh_convert(make_context(Path(sys.argv[1])), input=path)
    except Fail as exc:
        print(str(exc)[:60])
"""


def test_promises_take_no_memory(ctx: ToldContext, folder: Path) -> None:
    """With 256 MiB more than the libraries take, and the limits that a task has by default."""
    paths = []
    for case in ("stl header", "stl that says solid", "ply text", "ply faces", "off header", "off faces",
                 "accessor without bytes"):  # fmt: skip
        name, content, _ = HOSTILE[case]
        path = folder / f"{case.replace(' ', '-')}{Path(name).suffix}"
        path.write_bytes(content)
        paths.append(str(path))
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(ctx.workdir), *paths],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert [line.partition(".")[0] for line in ran.stdout.splitlines()] == [Path(path).stem for path in paths]
    assert "MemoryError" not in ran.stdout


def test_a_library_of_materials_is_not_read_from_elsewhere(ctx: ToldContext, folder: Path) -> None:
    """What lies outside of the folder of an OBJ gets into no output."""
    (folder.parent / "secret.mtl").write_text("newmtl secret\nKd 0.125 0.25 0.5\n")
    lines = ["mtllib ../secret.mtl", "usemtl secret", "v 0 0 0", "v 1 0 0", "v 0 1 0", "f 1 2 3"]
    (folder / "x.obj").write_text("\n".join(lines))
    result = mesh_convert(ctx, input=str(folder / "x.obj"), format="obj")
    for name in result["files"]:
        text = ctx.told.artifacts[name].read_text()
        assert "secret" not in text
        assert "0.125" not in text


@pytest.mark.parametrize("where", ["input", "output"])
def test_a_file_that_is_too_large_is_refused(ctx: ToldContext, where: str) -> None:
    """Before it is read, and before it is written."""
    path = models.folder() / "gear.glb"
    limit = 14_719 if where == "input" else 20_000
    said = "gear.glb has 14,720 bytes; max_bytes allows 14,719"
    if where == "output":
        said = "gear.stl would have 57,684 bytes; max_bytes allows 20,000"
    with pytest.raises(Fail, match=f"^{said}"):
        mesh_convert(ctx, input=str(path), max_bytes=limit)
    assert ctx.told.artifacts == {}


@pytest.mark.parametrize(
    "content",
    [
        used_often([POINTS] * 30, [{"POSITION": 0}]),
        used_often([POINTS], [{"POSITION": 0, **{f"_{at}": 0 for at in range(29)}}]),
    ],
    ids=["arrays", "uses"],
)
def test_arrays_together_have_no_more_bytes_than_allowed(
    ctx: ToldContext, folder: Path, content: bytes
) -> None:
    """Each would pass; so does what they come to where it is allowed."""
    (folder / "x.gltf").write_bytes(content)
    said = "x.gltf describes 324,000 bytes of geometry; max_bytes allows 323,999"
    with pytest.raises(Fail, match=f"^{said}"):
        mesh_convert(ctx, input=str(folder / "x.gltf"), max_bytes=323_999)
    assert mesh_convert(ctx, input=str(folder / "x.gltf"), max_bytes=324_000)["faces"] == 300


@pytest.mark.parametrize("limit", ["max_triangles", "max_bytes"])
def test_a_limit_that_allows_nothing_is_refused(ctx: ToldContext, limit: str) -> None:
    """Zero is no "unlimited"."""
    wrong: dict[str, Any] = {limit: 0}
    with pytest.raises(Fail, match=f"^{limit} must be 1 or more, not 0"):
        mesh_convert(ctx, input=str(models.folder() / "gear.glb"), **wrong)


def test_exactly_as_many_as_allowed_are_read(ctx: ToldContext) -> None:
    """A bound is a bound."""
    path = str(models.folder() / "gear.glb")
    assert mesh_convert(ctx, input=path, max_triangles=1152)["faces"] == 1152
    with pytest.raises(Fail, match=r"gear\.glb has .* max_triangles"):
        mesh_convert(ctx, input=path, max_triangles=1151)


def test_a_stop_is_seen_while_a_long_text_is_counted(ctx: ToldContext, folder: Path) -> None:
    """Not after minutes."""
    from handlers.meshes.bounds import Bounds, check_counts

    (folder / "x.obj").write_bytes(b"v 0 0 0\n" * 10)
    ctx.ask_to_stop()
    with pytest.raises(Cancelled):
        check_counts(folder / "x.obj", "obj", "x.obj", Bounds(100, 10_000, ctx.check))
