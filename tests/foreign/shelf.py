"""Objects by id, with their history, so that reads can lag behind writes."""

from __future__ import annotations

import copy
from typing import Any

__all__ = ["Shelf"]

Item = dict[str, Any]


class Shelf:
    """All versions of the objects of one kind, in the order of their first writing."""

    def __init__(self) -> None:
        """Start empty."""
        self._versions: dict[str, list[tuple[float, Item]]] = {}

    def put(self, at: float, item: Item) -> None:
        """Write an object as of now."""
        self._versions.setdefault(item["id"], []).append((at, copy.deepcopy(item)))

    def get(self, id_: str, at: float = float("inf")) -> Item | None:
        """Return an object as it was at a time; None where it was not there."""
        seen = [item for written_at, item in self._versions.get(id_, []) if written_at <= at]
        return copy.deepcopy(seen[-1]) if seen else None

    def all(self, at: float = float("inf")) -> list[Item]:
        """Return all objects as they were at a time, oldest first."""
        return [item for id_ in self._versions if (item := self.get(id_, at)) is not None]

    def __contains__(self, id_: str) -> bool:
        return id_ in self._versions
