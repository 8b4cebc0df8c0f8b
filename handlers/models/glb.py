"""Write GLB files (Khronos glTF 2.0, section 4, "GLB File Format Specification")."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from handlers.models.surface import Surface

__all__ = ["Document"]

FLOAT, UNSIGNED_BYTE, UNSIGNED_SHORT = 5126, 5121, 5123
VERTICES, INDICES = 34962, 34963  # ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER
DIGITS = 5  # decimals of a coordinate: rounds away what libraries of mathematics disagree on


@dataclass
class Document:
    """A GLB file that grows: add materials, meshes and nodes, then ask for its bytes."""

    materials: list[dict[str, Any]] = field(default_factory=list)
    meshes: list[dict[str, Any]] = field(default_factory=list)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    binary: bytearray = field(default_factory=bytearray)

    def material(
        self, name: str, color: Sequence[float], *, metallic: float = 0.0, rough: float = 0.6
    ) -> int:
        """Add a material (colour as linear red, green, blue of 0…1) and return its number."""
        surface = {"baseColorFactor": [*color, 1.0], "metallicFactor": metallic, "roughnessFactor": rough}
        self.materials.append({"name": name, "pbrMetallicRoughness": surface, "doubleSided": True})
        return len(self.materials) - 1

    def mesh(self, name: str, *parts: tuple[Surface, int | None]) -> int:
        """Add a mesh of one primitive a part (surface, material) and return its number."""
        self.meshes.append({"name": name, "primitives": [self._primitive(*part) for part in parts]})
        return len(self.meshes) - 1

    def node(self, name: str, mesh: int | None = None, **fields: Any) -> int:
        """Add a node (translation, rotation, scale, matrix, children) and return its number."""
        self.nodes.append({"name": name} | ({} if mesh is None else {"mesh": mesh}) | fields)
        return len(self.nodes) - 1

    def to_bytes(self, roots: Sequence[int]) -> bytes:
        """Return the file: a header, a chunk of JSON, a chunk of binary."""
        text = json.dumps(self._header(roots), separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        body = chunk(b"JSON", text) + chunk(b"BIN\0", bytes(self.binary))
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body

    def _header(self, roots: Sequence[int]) -> dict[str, Any]:
        header = {
            "asset": {"version": "2.0", "generator": "millhand sample models"},
            "scene": 0,
            "scenes": [{"nodes": list(roots)}],
            "nodes": self.nodes,
            "meshes": self.meshes,
            "materials": self.materials,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.binary)}],
        }
        return {key: value for key, value in header.items() if value != []}

    def _primitive(self, surface: Surface, material: int | None) -> dict[str, Any]:
        rounded = [tuple(round(x, DIGITS) + 0.0 for x in point) for point in surface.points]
        attributes = {"POSITION": self._positions(rounded)}
        if surface.colors:
            attributes["COLOR_0"] = self._colors(surface.colors)
        primitive: dict[str, Any] = {"attributes": attributes, "indices": self._indices(surface)}
        return primitive if material is None else primitive | {"material": material}

    def _positions(self, points: Sequence[tuple[float, ...]]) -> int:
        # The bounds must be those of the stored numbers, which have single precision.
        stored = [struct.unpack("<3f", struct.pack("<3f", *point)) for point in points]
        axes = list(zip(*stored, strict=True))
        bounds = {"min": [min(axis) for axis in axes], "max": [max(axis) for axis in axes]}
        flat = struct.pack(f"<{3 * len(points)}f", *(x for point in points for x in point))
        return self._accessor(flat, VERTICES, "VEC3", componentType=FLOAT, count=len(points), **bounds)

    def _colors(self, colors: Iterable[Sequence[int]]) -> int:
        flat = bytes(part for color in colors for part in color)
        return self._accessor(
            flat, VERTICES, "VEC4", componentType=UNSIGNED_BYTE, count=len(flat) // 4, normalized=True
        )

    def _indices(self, surface: Surface) -> int:
        count = 3 * len(surface.triangles)
        flat = struct.pack(f"<{count}H", *(i for triangle in surface.triangles for i in triangle))
        return self._accessor(flat, INDICES, "SCALAR", componentType=UNSIGNED_SHORT, count=count)

    def _accessor(self, flat: bytes, target: int, type_: str, **fields: Any) -> int:
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(flat), "target": target}
        self.views.append(view)
        self.binary += flat + b"\0" * (-len(flat) % 4)
        self.accessors.append({"bufferView": len(self.views) - 1, "type": type_} | fields)
        return len(self.accessors) - 1


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk; its content is already padded to four bytes."""
    return struct.pack("<I4s", len(content), kind) + content
