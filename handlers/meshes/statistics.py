"""Measure a mesh; what cannot be said is None, with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh

from handlers.meshes.joining import welded

__all__ = ["count_bodies", "measure"]

NOISE = 1e-12  # of the size: far below single precision, which files have


def measure(mesh: trimesh.Trimesh) -> dict[str, Any]:
    """Return the statistics of a mesh, JSON-able, in the units of the file.

    Whether it is closed, its pieces and its Euler number are those of the shape: points at the same
    place count once, and triangles without an extent do not count.
    """
    shape = shape_of(mesh)
    volume, why_not = volume_of(shape)
    return {
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "bounds": plain(mesh.bounds, mesh.scale),
        "extents": plain(mesh.extents, mesh.scale),
        "area": float(shape.area),
        "volume": volume,
        "volumeReason": why_not,
        "watertight": bool(shape.is_watertight) and len(shape.faces) > 0,
        "bodies": count_bodies(shape.faces),
        "eulerNumber": int(shape.euler_number) if len(shape.faces) else 0,
        **edges_of(shape.faces),
    }


def shape_of(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Return the mesh as a shape around the origin, where its volume is most exact."""
    shape = welded(mesh)
    a, b, c = shape.faces.T
    return trimesh.Trimesh(
        vertices=shape.vertices - mesh.bounds.mean(axis=0),
        faces=shape.faces[(a != b) & (b != c) & (c != a)],
        process=False,
    )


def volume_of(shape: trimesh.Trimesh) -> tuple[float | None, str | None]:
    """Return the enclosed volume, or None and why there is none."""
    if not len(shape.faces):
        return None, "none of the triangles has an extent"
    if not shape.is_watertight:
        return None, "the surface is not closed"
    if not shape.is_winding_consistent:
        return None, "neighbouring triangles disagree about which side is outside"
    a, b, c = np.moveaxis(shape.triangles, 1, 0)
    volume = float((a * np.cross(b, c)).sum() / 6)  # divergence theorem; trimesh's own divides by it too
    return (None, "the triangles face inside") if volume < 0 else (volume, None)


def edges_of(faces: Any) -> dict[str, int]:
    """Return how many edges have one triangle (the rims of holes), and how many have more than two."""
    if not len(faces):
        return {"openEdges": 0, "crowdedEdges": 0}
    edges = np.sort(np.vstack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges[:, 0] * (edges.max() + 1) + edges[:, 1], return_counts=True)
    return {"openEdges": int((counts == 1).sum()), "crowdedEdges": int((counts > 2).sum())}


def count_bodies(faces: Any) -> int:
    """Return the number of pieces that share no point; trimesh would need scipy or networkx for that.

    Every point takes the smallest label among its neighbours, and labels are followed to their end,
    until nothing changes: some rounds, whatever the size.
    """
    if not len(faces):
        return 0
    edges = np.vstack([faces[:, [0, 1]], faces[:, [1, 2]]])
    labels = np.arange(edges.max() + 1)
    while True:
        smaller = np.minimum(labels[edges[:, 0]], labels[edges[:, 1]])
        before = labels.copy()
        np.minimum.at(labels, before[edges[:, 0]], smaller)
        np.minimum.at(labels, before[edges[:, 1]], smaller)
        while (labels != labels[labels]).any():
            labels = labels[labels]
        if (labels == before).all():
            return len(np.unique(labels[edges]))


def plain(array: Any, size: float) -> Any:
    """Return an array as lists, with 0 for the noise that turning by 90° leaves beside it."""
    return np.where(np.abs(array) < size * NOISE, 0.0, array).tolist()
