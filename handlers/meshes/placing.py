"""Place a scene anew: other lengths, another axis up, its middle at the origin."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import trimesh

from worker import Fail

__all__ = ["placed", "turn_of"]

UP_OF_FORMATS: Final = {"glb": "y", "gltf": "y", "3mf": "z"}  # by their standards; others say nothing
TURNS: Final[dict[tuple[str, str], Any]] = {  # a quarter about x, in numbers without noise
    ("y", "z"): np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
    ("z", "y"): np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),
}


def turn_of(name: str, kind: str, up_in: str | None, up: str | None) -> Any:
    """Return the matrix that turns one axis up; None where nothing is to be turned.

    Raises:
        Fail: an axis is wanted, and nobody says which one is up in the input.
    """
    source = up_in or UP_OF_FORMATS.get(kind)
    if up is None or up == source:
        return None
    if source is None:
        raise Fail(f"{name} does not say which axis is up; give up_in beside up")
    return TURNS[source, up]


def placed(scene: trimesh.Scene, factor: float, turn: Any, *, is_centred: bool) -> trimesh.Scene:
    """Make every length so many times as long, about the origin; turn; move the middle to the origin."""
    matrix = np.diag([factor, factor, factor, 1.0])
    if turn is not None:
        matrix = turn @ matrix
    move(scene, matrix)
    if is_centred:
        middle = np.eye(4)
        middle[:3, 3] = -np.asarray(scene.bounds).mean(axis=0)
        move(scene, middle)
    return scene


def move(scene: trimesh.Scene, matrix: Any) -> None:
    """Apply a transform to a whole scene."""
    if not np.array_equal(matrix, np.eye(4)):
        transform: Any = scene.apply_transform  # without type information
        transform(matrix)
