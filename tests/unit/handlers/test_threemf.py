"""A 3MF is read as its standard says: components, transforms, other parts, colours; and refused in words."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from handlers.mesh_convert import mesh_convert
from tests.unit.handlers.threemf_files import CORE, RELATIONS, TETRAHEDRON, model, package, read
from worker import Fail
from worker.sdk.testing import ToldContext

ONE = f'<object id="1">{TETRAHEDRON}</object>'
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"


def convert(ctx: ToldContext, folder: Path, content: bytes, **parameters: Any) -> dict[str, Any]:
    """Convert a package to 3MF."""
    (folder / "a.3mf").write_bytes(content)
    return mesh_convert(ctx, input=str(folder / "a.3mf"), format="3mf", **parameters)


def test_components_and_transforms_are_applied(ctx: ToldContext, tmp_path: Path) -> None:
    """Rows of the file are columns of a matrix; the reference implementation agrees with what we write."""
    moved = '<component objectid="1" transform="2 0 0 0 2 0 0 0 2 10 20 30"/>'
    document = model(
        f'{ONE}<object id="2"><components><component objectid="1"/>{moved}</components></object>',
        '<item objectid="2" transform="1 0 0 0 1 0 0 0 1 100 0 0"/><item objectid="1"/>',
    )
    result = convert(ctx, tmp_path, package(document))
    assert (result["faces"], result["bodies"]) == (12, 3)
    assert result["bounds"] == [[0, 0, 0], [112, 22, 32]]
    assert result["volume"] == pytest.approx((1 + 8 + 1) / 6)
    mesh = read(ctx.told.artifacts["a.3mf"])
    assert mesh.bounds.tolist() == result["bounds"]
    assert mesh.volume == pytest.approx(result["volume"])


def test_parts_in_other_files_of_the_package_are_found(ctx: ToldContext, tmp_path: Path) -> None:
    """As slicers write them."""
    root = model(
        '<object id="9"><components><component p:path="/3D/Objects/b.model" objectid="1"/></components>'
        "</object>",
        '<item objectid="9"/>',
        f'unit="inch" xmlns:p="{PRODUCTION}" requiredextensions="p"',
    )
    other = model(ONE, "", 'unit="inch"')
    result = convert(ctx, tmp_path, package(root, {"3D/Objects/b.model": other}))
    assert (result["faces"], result["unitsIn"], result["warnings"]) == (4, "in", [])
    with pytest.raises(Fail, match=r"a\.3mf is damaged: its package has no part '3d/objects/b\.model'"):
        convert(ctx, tmp_path, package(root))
    with pytest.raises(Fail, match=r"parts in different units"):
        convert(ctx, tmp_path, package(root, {"3D/Objects/b.model": other.replace("inch", "foot")}))


def test_the_colour_of_an_object_is_read(ctx: ToldContext, tmp_path: Path) -> None:
    """Of an object, not of single triangles, which is said."""
    base = '<basematerials id="5"><base name="red" displaycolor="#FF0000"/></basematerials>'
    painted = TETRAHEDRON.replace('v3="1"/>', 'v3="1" pid="5" p1="0"/>')
    document = model(f'{base}<object id="1" pid="5" pindex="0">{painted}</object>', '<item objectid="1"/>')
    result = convert(ctx, tmp_path, package(document))
    assert result["warnings"] == ["colours of single triangles are left out"]
    assert 'displaycolor="#FF0000FF"' in text_of(ctx)


def test_properties_of_other_kinds_are_told_to_be_left_out(ctx: ToldContext, tmp_path: Path) -> None:
    """As groups of colours, which an extension has."""
    document = model(f'<object id="1" pid="7">{TETRAHEDRON}</object>', '<item objectid="1"/>')
    told = convert(ctx, tmp_path, package(document))["warnings"]
    assert told == ["properties that are no base materials are left out"]


def text_of(ctx: ToldContext) -> str:
    """Return the model's document in what was written."""
    with zipfile.ZipFile(ctx.told.artifacts["a.3mf"]) as archive:
        return archive.read("3D/3dmodel.model").decode()


def test_what_an_extension_describes_is_told_to_be_left_out(ctx: ToldContext, tmp_path: Path) -> None:
    """A beam lattice is no triangle."""
    attributes = 'unit="millimeter" xmlns:b="http://example.com/beams" requiredextensions="b"'
    result = convert(ctx, tmp_path, package(model(ONE, '<item objectid="1"/>', attributes)))
    assert result["warnings"] == ["what only the extension http://example.com/beams describes is left out"]


def test_what_is_not_built_is_left_out(ctx: ToldContext, tmp_path: Path) -> None:
    """The standard says: only what the build names exists."""
    other = ONE.replace('id="1"', 'id="2"')
    assert convert(ctx, tmp_path, package(model(ONE + other, '<item objectid="2"/>')))["faces"] == 4


def test_flat_triangles_are_not_written(ctx: ToldContext, tmp_path: Path) -> None:
    """The standard forbids two equal corners; how many is said, and the count is that of the file."""
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 1 2\n")
    result = mesh_convert(ctx, input=str(tmp_path / "a.obj"), format="3mf", units_in="mm")
    assert result["warnings"] == ["left out: 1 triangle(s) with two equal corners, which 3MF forbids"]
    assert result["faces"] == len(read(ctx.told.artifacts["a.3mf"]).faces) == 1
    (tmp_path / "b.obj").write_text("v 0 0 0\nv 1 0 0\nf 1 1 2\n")
    with pytest.raises(Fail, match=r"b\.obj has no triangle with three different corners"):
        mesh_convert(ctx, input=str(tmp_path / "b.obj"), format="3mf")


def nested(depth: int, width: int) -> str:
    """Return a model whose last object comes to width ** depth places of one mesh."""
    objects = "".join(
        f'<object id="{at}"><components>'
        + f'<component objectid="{at - 1}"/>' * width
        + "</components></object>"
        for at in range(2, depth + 2)
    )
    return model(ONE + objects, f'<item objectid="{depth + 1}"/>')


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE model [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    f']><model xmlns="{CORE}"><resources>&b;</resources></model>'
)


def many(count: int, element: str) -> bytes:
    """Return a package with an element so often, where nothing refuses it for another reason."""
    object_ = f'<object id="2"><components>{element * count}</components></object>'
    return package(model(element * count if "component" not in element else ONE + object_, ""))


def zip64(parts: int) -> bytes:
    """Return an archive whose list of parts is that long by ZIP64 alone."""
    entry = b"PK\1\2" + b"\0" * 24 + struct.pack("<H", 1) + b"\0" * 16 + b"a"
    content = b"PK\3\4" + b"\0" * 22 + struct.pack("<2H", 1, 0) + b"a"
    size, start = len(entry) * parts, len(content)
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, parts, parts, size, start)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
    return content + entry * parts + end + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 47, 0, 0)


def lzma() -> bytes:
    """Return a package whose parts are packed by LZMA, and damaged."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("_rels/.rels", RELATIONS)
    packed = bytearray(content.getvalue())
    start = packed.index(b"_rels/.rels") + len("_rels/.rels") + 12
    packed[start : start + 28] = b"\xff" * 28
    return bytes(packed)


BASE_ONLY = '<base name="x" displaycolor="#FF0000"/>'
BASE = '<basematerials id="5"><base name="x" displaycolor="{}"/></basematerials>'
EXTENSIONS = " ".join(f"e{at}" for at in range(200))
BUILD = '<item objectid="1"/>'


def changed(old: str, new: str) -> bytes:
    """Return a package with a change in its one object."""
    return package(model(ONE.replace(old, new), BUILD))


BROKEN: dict[str, tuple[bytes, str]] = {
    "no zip": (b"<html>", "is no 3MF: it is no ZIP archive"),
    "cut off": (package(model(ONE, ""))[:-30], "is cut off: the end of the ZIP archive is missing"),
    "another zip": (
        package(model(ONE, ""), {"_rels/.rels": "<a/>"}),
        "is no 3MF: its package names no model",
    ),
    "no model": (
        package("", {"_rels/.rels": RELATIONS.replace("3dmodel.model", "x.model")}),
        "is damaged: its package has no part '3d/x.model'",
    ),
    "two bytes": (b"PK", "is cut off: the end of the ZIP archive is missing"),
    "no xml": (package("{}"), "is damaged: its part '3d/3dmodel.model' is no XML"),
    "cut xml": (package(model(ONE, "")[:-9]), "is no XML (unclosed token"),
    "entities": (package(LAUGHS), "it has a document type, which 3MF forbids"),
    "laughs in utf-16": (
        package(LAUGHS.replace('"1.0"', '"1.0" encoding="utf-16"').encode("utf-16")),
        "document type",
    ),
    "nothing built": (package(model(ONE, "")), "holds no mesh: it has nothing in it"),
    "no such object": (
        package(model(ONE, '<item objectid="7"/>')),
        "it uses an object '7' that is not there",
    ),
    "itself": (
        package(
            model(
                '<object id="1"><components><component objectid="1"/></components></object>',
                '<item objectid="1"/>',
            )
        ),
        "its object 1 contains itself",
    ),
    "deep": (package(nested(200, 1)), "lies too deep"),
    "exploding": (package(nested(40, 10)), "triangles or more; max_triangles allows 1,000"),
    "index": (changed('v2="2"', 'v2="9"'), "use points that do not exist"),
    "negative index": (changed('v2="2"', 'v2="-1"'), "use points that do not exist"),
    "huge index": (
        changed('v2="2"', 'v2="99999999999999999999"'),
        "a <triangle> of it cannot be read",
    ),
    "no number": (changed('x="1"', 'x="nan"'), "infinite or no numbers"),
    "word": (changed('x="1"', 'x="one"'), "a <vertex> of it cannot be read"),
    "attribute": (changed('x="1"', ""), "a <vertex> of it cannot be read"),
    "transform": (
        package(model(ONE, '<item objectid="1" transform="1 2 3"/>')),
        "a <item> of it cannot be read",
    ),
    "unit": (package(model(ONE, "", 'unit="cubit"')), "its unit is 'cubit'"),
    "point outside": (
        package(model('<vertex x="0" y="0" z="0"/>', "")),
        "points or triangles outside of its objects",
    ),
    "one element": (
        package(model(f'<object id="{"x" * 9_000_000}"/>', "")),
        "an element has more than 4,194,304 bytes",
    ),
    "bomb": (
        package(model(" " * 20_000_000 + ONE, '<item objectid="1"/>')),
        "unpacks to more than max_bytes allows",
    ),
    "many items": (package(model(ONE, BUILD * 100_001)), "more than 100,000 <item> elements"),
    "many components": (many(100_001, '<component objectid="1"/>'), "more than 100,000 <component> elements"),
    "many objects": (many(100_001, '<object id="1"/>'), "more than 100,000 <object> elements"),
    "many groups": (many(100_001, '<basematerials id="1"/>'), "more than 100,000 <basematerials> elements"),
    "many bases": (
        package(model(f'<basematerials id="1">{BASE_ONLY * 100_001}</basematerials>', "")),
        "more than 100,000 <base> elements",
    ),
    "many models": (many(1000, f'<model xmlns="{CORE}"/>'), "more than 1,000 <model> elements"),
    "many extensions": (
        package(model(ONE, "", f'unit="inch" requiredextensions="{EXTENSIONS}"')),
        "it needs more than 100 extensions",
    ),
    "many namespaces": (
        package(model("".join(f'<x xmlns:n{at}="n"/>' for at in range(1001)), "")),
        "it has more than 1,000 namespaces",
    ),
    "nested elements": (package("<x>" * 300), "it has more than 256 elements within each other"),
    "short colour": (package(model(BASE.format("#FF") + ONE, "")), "a <base> of it cannot be read"),
    "long colour": (package(model(BASE.format("#FF0000FF00") + ONE, "")), "a <base> of it cannot be read"),
    "lzma": (lzma(), "its part '_rels/.rels' is packed by method 14, which 3MF forbids"),
    "zip64": (zip64(30_000), "its list of parts has 1,410,000 bytes"),
    "zip64 without end": (
        zip64(1).replace(b"PK\6\6", b"PK\6\0"),
        "the end of its ZIP64 archive is missing",
    ),
    "zip64 elsewhere": (
        zip64(1).replace(b"PK\6\7\0\0\0\0N", b"PK\6\7\0\0\0\0O"),
        "the end of its ZIP64 archive is missing",
    ),
    "directory": (
        b"PK" + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 1 << 30, 0, 0),
        "its list of parts has 1,073,741,824 bytes",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_is_explained(ctx: ToldContext, tmp_path: Path, case: str) -> None:
    """In one line that begins with its name; bombs of all kinds end at a bound."""
    content, said = BROKEN[case]
    with pytest.raises(Fail) as failure:
        convert(ctx, tmp_path, content, max_triangles=1000, max_bytes=16_000_000)
    assert said in str(failure.value)
    assert str(failure.value).startswith("a.3mf ")
    assert len(str(failure.value).splitlines()) == 1
    assert len(str(failure.value)) < 500
    assert ctx.told.artifacts == {}


def test_a_package_unpacks_to_what_its_size_may_come_to(ctx: ToldContext, tmp_path: Path) -> None:
    """Whatever max_bytes is; a small one to 16 MiB all the same."""
    with pytest.raises(Fail, match=r"^a\.3mf is damaged: it unpacks to more than 16,777,216 bytes"):
        convert(ctx, tmp_path, package(model(" " * 17_000_000 + ONE, BUILD)))
    assert convert(ctx, tmp_path, package(model(" " * 16_000_000 + ONE, BUILD)))["faces"] == 4


def test_a_package_in_zip64_is_read(ctx: ToldContext, tmp_path: Path) -> None:
    """Some exporters write every archive so."""
    content = package(model(ONE, BUILD))
    *_, parts, size, start, _ = struct.unpack("<4s4H2LH", content[-22:])
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, parts, parts, size, start)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
    end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert convert(ctx, tmp_path, content[:-22] + end)["faces"] == 4
