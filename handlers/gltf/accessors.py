"""How large the arrays of a glTF are once they are unpacked, by its description alone.

Format: Khronos glTF 2.0, section 3.6.2, "Accessors".
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["accessor_bytes", "count_of", "whole"]

COMPONENT_BYTES: Final = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
COMPONENTS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


def accessor_bytes(accessor: dict[str, Any]) -> int:
    """Return the size of an accessor once it is unpacked."""
    parts = COMPONENTS.get(str(accessor.get("type")), 1)
    return count_of(accessor) * parts * COMPONENT_BYTES.get(whole(accessor.get("componentType")), 4)


def count_of(thing: dict[str, Any]) -> int:
    """Return its `count`."""
    return whole(thing.get("count"))


def whole(value: Any) -> int:
    """Return a whole number from 0; 0 for anything else."""
    return value if isinstance(value, int) and value > 0 else 0
