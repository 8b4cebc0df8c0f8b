"""Bugs of writes that go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tests.simulation.bugs.change import Change
from worker.api.batches import Batches
from worker.api.errors import ApiError, Conflict
from worker.api.writes import Told, Waiting

__all__ = ["one_answer_for_all", "takes_silence_for_a_no"]


def takes_silence_for_a_no() -> Sequence[Change]:
    """Take a batch without an answer for one of which nothing was done."""
    real = Batches._fail

    def fail(self: Batches, writes: Sequence[Waiting | Told], error: ApiError) -> None:
        real(self, writes, Conflict(str(error), status=409, code="task_not_pending"))

    return [(Batches, "_fail", fail)]


def one_answer_for_all() -> Sequence[Change]:
    """Take a claim in a batch for done where the batch was answered, whatever it says of the claim."""
    real = Batches._settle

    def settle(self: Batches, write: Waiting | Told, raw: Any, headers: Mapping[str, str]) -> None:
        if write.method == "POST" and raw["status"] == 409:
            raw = {"status": 200, "headers": {}, "body": msgspec.json.decode(write.body)}
        real(self, write, raw, headers)

    return [(Batches, "_settle", settle)]
