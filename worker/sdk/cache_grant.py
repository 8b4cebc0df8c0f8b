"""What a process is told of the cache of inputs; see `worker.sdk.input_cache`."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["CacheGrant"]


class CacheGrant(Struct, frozen=True):
    """Where a process may keep inputs, and what it signs with."""

    folder: str  # of this user; it exists
    key: str  # hex; of the handlers of one type
    max_bytes: int  # of all content together
