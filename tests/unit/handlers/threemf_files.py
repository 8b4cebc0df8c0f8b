"""3MF files made by hand, sound and broken, and read by the reference implementation."""

from __future__ import annotations

import io
import platform
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

__all__ = ["CORE", "RELATIONS", "TETRAHEDRON", "model", "package", "read"]

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="a" '
    'Target="/3D/3dmodel.model" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>'
    "</Relationships>"
)
TETRAHEDRON = (
    '<mesh><vertices><vertex x="0" y="0" z="0"/><vertex x="1" y="0" z="0"/><vertex x="0" y="1" z="0"/>'
    '<vertex x="0" y="0" z="1"/></vertices><triangles><triangle v1="0" v2="2" v3="1"/>'
    '<triangle v1="0" v2="1" v3="3"/><triangle v1="0" v2="3" v3="2"/><triangle v1="1" v2="2" v3="3"/>'
    "</triangles></mesh>"
)


def model(resources: str, build: str, attributes: str = 'unit="millimeter"') -> str:
    """Return a model's document."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><model xmlns="{CORE}" {attributes}><resources>{resources}'
        f"</resources><build>{build}</build></model>"
    )


def package(document: str | bytes, others: Mapping[str, str | bytes] | None = None) -> bytes:
    """Return a package of a model's document and other parts."""
    content = io.BytesIO()
    parts = {"_rels/.rels": RELATIONS, "3D/3dmodel.model": document} | dict(others or {})
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, part in parts.items():
            archive.writestr(path, part)
    return content.getvalue()


def read(path: Path) -> trimesh.Trimesh:
    """Return everything that is placed, as one mesh, read by lib3mf in its strict mode without a warning."""
    if platform.machine() != "x86_64":
        pytest.skip("lib3mf has no wheel for this machine")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # ctypes of 3.14
        import lib3mf

    opened = lib3mf.get_wrapper().CreateModel()
    reader = opened.QueryReader("3mf")
    reader.SetStrictModeActive(True)
    reader.ReadFromFile(str(path))
    assert reader.GetWarningCount() == 0
    parts: list[trimesh.Trimesh] = []
    items: Any = opened.GetBuildItems()
    while items.MoveNext():
        item = items.GetCurrent()
        thing = opened.GetMeshObjectByID(item.GetObjectResource().GetResourceID())
        matrix = np.eye(4)
        matrix[:3] = np.array([list(row) for row in item.GetObjectTransform().Fields]).T
        points = np.array([list(point.Coordinates) for point in thing.GetVertices()])
        corners = np.array([list(triangle.Indices) for triangle in thing.GetTriangleIndices()])
        parts.append(trimesh.Trimesh(points, corners, process=False).apply_transform(matrix))
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    mesh = trimesh.Trimesh(
        np.vstack([part.vertices for part in parts]),
        np.vstack([part.faces + start for part, start in zip(parts, starts, strict=False)]),
        process=False,
    )
    mesh.merge_vertices()
    return mesh
