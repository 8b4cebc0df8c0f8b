"""Idle children, kept for the next task of their type."""

from __future__ import annotations

from typing import NamedTuple

from worker.executor.link import ChildLink
from worker.executor.sources import has_changed

__all__ = ["ChildKey", "WarmChildren"]


class ChildKey(NamedTuple):
    """What a child is good for: a handler, with these GPUs (CUDA reads them once, at its start)."""

    type: str
    target: str
    gpus: tuple[str, ...]


class WarmChildren:
    """At most `bound` idle children, the most recently used last."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._idle: list[tuple[ChildKey, ChildLink]] = []

    def take(self, key: ChildKey) -> tuple[ChildLink | None, list[ChildLink]]:
        """Return a child for the key, and those that must go.

        Those are useless ones that were found on the way, and any other that has a GPU of this key: a run has
        its GPUs for itself, memory included. Whether one is of use is looked at when it is its turn: that
        reads files, and one that ended meanwhile is told anyway.
        """
        found, gone = None, list[ChildLink]()
        for one, link in reversed(self._idle):
            if is_in_the_way(one, key):
                gone.append(link)
            elif one == key and found is None:
                if is_useless(link):
                    gone.append(link)
                else:
                    found = link
        if gone or found is not None:
            self._idle = [pair for pair in self._idle if pair[1] is not found and pair[1] not in gone]
        return found, gone

    def put(self, key: ChildKey, link: ChildLink) -> list[ChildLink]:
        """Keep a child; return those for which there is no room any more."""
        self._idle.append((key, link))
        too_many = max(0, len(self._idle) - self._bound)
        gone, self._idle = self._idle[:too_many], self._idle[too_many:]
        return [link for _, link in gone]

    def remove(self, link: ChildLink) -> bool:
        """Forget a child; tell whether it was here."""
        kept = [pair for pair in self._idle if pair[1] is not link]
        was_here = len(kept) < len(self._idle)
        self._idle = kept
        return was_here

    def __contains__(self, link: ChildLink) -> bool:
        """Tell whether a child is here."""
        return any(one is link for _, one in self._idle)

    def take_all(self) -> list[ChildLink]:
        """Return every child; none is kept."""
        links, self._idle = [link for _, link in self._idle], []
        return links


def is_in_the_way(one: ChildKey, key: ChildKey) -> bool:
    """Tell whether another child holds a GPU that a run shall have."""
    return bool(key.gpus) and one != key and not set(one.gpus).isdisjoint(key.gpus)


def is_useless(link: ChildLink) -> bool:
    """Tell whether a child ended meanwhile, or a file of its handler changed since it was imported."""
    if link.is_dead or link.is_closed_by_child or link.channel_error is not None:
        return True
    return link.ready is not None and has_changed(link.ready.sources)
