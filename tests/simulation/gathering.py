"""Writes that go together, in virtual time: gathered for a moment, or else the loop's same round has few."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final

from worker.api.batches import Batches
from worker.api.connection import Connection

__all__ = ["Gathering"]

MOMENT_S: Final = 0.05  # at most; a request takes up to 40 ms
REST_S: Final = 2.0  # after a failure: histories are short


class Gathering(Batches):
    """What gathers them."""

    def __init__(self, connection: Connection, random: Random) -> None:
        """Gather for a while that is drawn each time."""
        super().__init__(connection, rest_s=REST_S)
        self._random = random

    def _gather(self) -> None:
        asyncio.get_running_loop().call_later(self._random.uniform(0.0, MOMENT_S), self._flush)
