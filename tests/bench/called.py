"""A `millhand` command whose calls are counted: `python -m tests.bench.called ASK ANSWER COMMAND …`.

ASK and ANSWER are descriptors: for each byte that comes by the first, a line goes out by the second with how
often a Python function was entered so far, in any thread; a coroutine that goes on after a wait counts again.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from types import FrameType

from worker.cli.main import main as millhand

__all__ = ["main"]


def main(ask: int, answer: int, command: list[str]) -> None:
    """Count, and do the command."""
    calls = itertools.count()

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            next(calls)  # no thread loses another's, as with +=

    def tell() -> None:
        while os.read(ask, 1):
            os.write(answer, b"%d\n" % next(calls))

    threading.Thread(target=tell, daemon=True).start()  # before: it is not counted itself
    threading.setprofile(note)
    sys.setprofile(note)
    sys.argv = ["millhand", *command]
    millhand()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
