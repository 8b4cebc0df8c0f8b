"""Ids that the server gives: UUIDs in the order of their making."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final
from uuid import UUID

from worker.clock import Clock

__all__ = ["IdSource", "ordered_ids"]

IdSource = Callable[[], str]

COUNTER_BITS: Final = 42  # of the 74 free bits of a UUIDv7; the other 32 stay random


def ordered_ids(clock: Clock) -> IdSource:
    """Return a source of UUIDv7 (RFC 9562) whose ids sort in the order in which they were made.

    Tasks made in one millisecond are listed by id, so such ids keep the order of submission.
    Safe to call from several threads.
    """
    lock = threading.Lock()
    last_ms, counter = 0, 0

    def new_id() -> str:
        nonlocal last_ms, counter
        now_ms = int(clock.now().timestamp() * 1000)
        with lock:
            if now_ms > last_ms:
                last_ms, counter = now_ms, 0
            counter += 1
            return _uuid7(last_ms, counter)

    return new_id


def _uuid7(at_ms: int, counter: int) -> str:
    free = (counter % (1 << COUNTER_BITS)) << 32 | int.from_bytes(os.urandom(4), "big")
    high, low = free >> 62, free & ((1 << 62) - 1)
    value = (at_ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    return str(UUID(int=value))
