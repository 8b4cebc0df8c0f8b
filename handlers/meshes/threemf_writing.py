"""Write a scene as a 3MF: the same bytes for the same scene.

Format: 3MF Core Specification 1.3.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import trimesh

from handlers.meshes.joining import colors_of
from handlers.meshes.package import MODEL_RELATION
from handlers.meshes.threemf import CORE, UNITS
from worker import Fail

__all__ = ["drop_flat", "rows", "three_mf"]

MODEL: Final = "3D/3dmodel.model"
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first day that a ZIP knows
HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
TYPES: Final = (
    f'{HEAD}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>'
    "</Types>"
)
RELATIONS: Final = (
    f'{HEAD}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    f'<Relationship Target="/{MODEL}" Id="model" Type="{MODEL_RELATION}"/></Relationships>'
)


def three_mf(scene: trimesh.Scene, unit: str | None) -> bytes:
    """Return the package: every mesh once, placed by its nodes, with one colour where it has just one.

    Args:
        scene: what to write; no triangle has two equal corners (see `drop_flat`).
        unit: of its lengths; None: millimetres, which the standard takes where nothing is said.
    """
    name = next((name for name, short in UNITS.items() if short == unit), "millimeter")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in (
            ("[Content_Types].xml", [TYPES]),
            ("_rels/.rels", [RELATIONS]),
            (MODEL, model_of(scene, name)),
        ):
            part = zipfile.ZipInfo(path, EPOCH)
            part.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(part, "w", force_zip64=False) as file:
                for piece in text:
                    file.write(piece.encode())
    return content.getvalue()


def drop_flat(scene: trimesh.Scene, name: str) -> list[str]:
    """Drop triangles with two equal corners, which the standard forbids; say how many.

    Raises:
        Fail: none is left.
    """
    dropped = left = 0
    for part in scene.geometry.values():
        assert isinstance(part, trimesh.Trimesh)
        a, b, c = part.faces.T
        is_sound = (a != b) & (b != c) & (c != a)
        dropped, left = dropped + int((~is_sound).sum()), left + int(is_sound.sum())
        if not is_sound.all():
            part.update_faces(is_sound)
    if not left:
        raise Fail(f"{name} has no triangle with three different corners, and a 3MF has no others")
    return [f"left out: {dropped} triangle(s) with two equal corners, which 3MF forbids"] if dropped else []


def model_of(scene: trimesh.Scene, unit: str) -> Iterator[str]:
    """Yield the model's document."""
    yield f'{HEAD}<model unit="{unit}" xml:lang="en-US" xmlns="{CORE}"><resources>\n'
    numbers = {key: number for number, key in enumerate(scene.geometry, 2)}
    colours = {
        key: colour for key, part in scene.geometry.items() if (colour := one_colour(part)) is not None
    }
    if colours:
        yield '<basematerials id="1">'
        for key, colour in colours.items():
            yield f'<base name="colour {numbers[key]}" displaycolor="#{bytes(colour).hex().upper()}"/>'
        yield "</basematerials>\n"
    indices = {key: index for index, key in enumerate(colours)}
    for key, part in scene.geometry.items():
        colour = f' pid="1" pindex="{indices[key]}"' if key in indices else ""
        yield f'<object id="{numbers[key]}" type="model"{colour}><mesh><vertices>\n'
        yield from rows('<vertex x="{}" y="{}" z="{}"/>\n', part.vertices)
        yield "</vertices><triangles>\n"
        yield from rows('<triangle v1="{}" v2="{}" v3="{}"/>\n', part.faces)
        yield "</triangles></mesh></object>\n"
    yield "</resources><build>\n"
    for node in scene.graph.nodes_geometry:
        matrix, key = scene.graph[node]
        moved = " ".join(map(repr, np.asarray(matrix)[:3].T.ravel().tolist()))
        yield f'<item objectid="{numbers[key]}" transform="{moved}"/>\n'
    yield "</build></model>\n"


def rows(form: str, array: Any) -> Iterator[str]:
    """Yield the rows of an array as text, many at once; every number is read back the same."""
    for start in range(0, len(array), 4096):
        piece = array[start : start + 4096].tolist()
        yield "".join([form.format(*row) for row in piece])


def one_colour(part: Any) -> Any:
    """Return the one colour of a mesh as four bytes; None where it has none, or several."""
    colours = colors_of(part)
    if colours is None or np.ndim(colours) != 1:
        return None
    return np.asarray(colours, dtype=np.uint8)
