"""Check parameters against a handler of this machine before a task is made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import msgspec
from msgspec import Struct, field

from worker.executor.asking import NoAnswer, ask
from worker.executor.sweep import end_marked

__all__ = ["MAX_BAD_SETS", "Checked", "check_parameters"]

TIMEOUT_S: Final = 60.0  # a large framework, imported cold
MAX_BAD_SETS: Final = 3  # a person mends the first, and tries again


class Checked(Struct, frozen=True, kw_only=True):
    """What a checking child found."""

    bad: dict[int, list[str]] = field(default_factory=dict)  # problems by the place of the set; the first few
    error: str | None = None  # why nothing could be checked


async def check_parameters(
    type_: str,
    target: str,
    sets: Sequence[Mapping[str, Any]],
    *,
    timeout_s: float = TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
) -> Checked:
    """Check sets of parameters in a child, with the very code that a run checks them with.

    Never raises for a handler that cannot be asked: see `Checked.error`.
    """
    mark = f"check-{uuid4().hex}"
    try:
        answer = await asyncio.to_thread(
            ask,
            "worker.executor.check",
            [type_, target],
            mark=mark,
            timeout_s=timeout_s,
            question=msgspec.json.encode(sets),
            environment=environment,
        )
    except NoAnswer as exc:
        return Checked(error=str(exc))
    finally:
        await end_marked(mark)  # what an import started, and left running
    try:
        return msgspec.json.decode(answer.out, type=Checked)
    except msgspec.DecodeError:
        return Checked(error=f"the process that imported it ended with {answer.code}")
