"""What every peer's task does: note when it ran. One write to a file that all workers share."""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

FORM = struct.Struct("<d")
GAP_S = 0.1
LIMIT_S = 30.0
WARM_UP = 5
opened: dict[int, int] = {}  # a worker forks: each process has its own


def stamp() -> None:
    """Note the time."""
    pid = os.getpid()
    if pid not in opened:
        opened[pid] = os.open(os.environ["PEERS_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(opened[pid], FORM.pack(time.time()))


def stamps() -> list[float]:
    """Return when tasks ran, in the order in which they were noted."""
    content = Path(os.environ["PEERS_STAMPS"]).read_bytes()
    return [at for (at,) in FORM.iter_unpack(content)]


def main(enqueue: Callable[[], object]) -> None:
    """Do what the command line says: `enqueue N` at once, or `pickup N`, one after the other."""
    what, count = sys.argv[1], int(sys.argv[2])
    if what == "enqueue":
        for _ in range(count):
            enqueue()
        return
    waits = []
    for _ in range(WARM_UP + count):
        time.sleep(GAP_S)
        known = len(stamps())
        begun = time.time()
        enqueue()
        while len(found := stamps()) == known:
            if time.time() - begun > LIMIT_S:
                raise SystemExit("a task was not done")
            time.sleep(0.002)
        waits.append(found[-1] - begun)
    print(" ".join(f"{wait:.6f}" for wait in waits[WARM_UP:]))
