"""A loop on real sockets and processes whose clock a test puts forward.

A time limit then ends when the test has seen what it waits for: never before, however slow the machine
is, and without a wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["SkippingLoop", "run_skipping", "skip"]

T = TypeVar("T")


class SkippingLoop(asyncio.SelectorEventLoop):
    """Real time, and what was skipped of it."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0

    def time(self) -> float:
        """Return the time of the loop's timers."""
        return super().time() + self.skipped_s


async def skip(seconds: float) -> None:
    """Have so much time be over for the running loop, and begin what is due then."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    loop.skipped_s += seconds
    for _ in range(2):  # timers come after what was ready before
        await asyncio.sleep(0)


def run_skipping(main: Coroutine[Any, Any, T]) -> T:
    """Run a scenario that may skip time."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(main)
