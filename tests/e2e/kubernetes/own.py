"""Handlers of the test on Kubernetes; each tells the node that it lives, whatever server and agent think."""

import os
import socket
import time
from collections.abc import Callable

from worker import Context, handler

NODE = ("10.99.0.1", 5140)


def teller(ctx: Context) -> Callable[[str], None]:
    """Return what sends a line: when on the machine's own clock, what, of which task and run."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def tell(word: str) -> None:
        sender.sendto(f"{time.monotonic_ns()} {word} {ctx.task_id} {ctx.run_id}\n".encode(), NODE)

    return tell


@handler("roll")
def roll(ctx: Context, *, number: int, seconds: float = 0.5) -> dict[str, int]:
    """Live a while, and do not stop before the end."""
    tell = teller(ctx)
    tell("begin")
    end_mono = time.monotonic() + seconds
    while time.monotonic() < end_mono:
        time.sleep(0.025)
        tell("lives")
    tell("end")
    return {"square": number * number}


@handler("eat")
def eat(ctx: Context) -> None:
    """Take memory until somebody objects."""
    held = []
    while True:
        held.append(os.urandom(1 << 20))


@handler("patient")
def patient(ctx: Context, *, number: int, seconds: float) -> dict[str, int]:
    """Live long, and stop at once when told to."""
    tell = teller(ctx)
    tell("begin")
    end_mono = time.monotonic() + seconds
    while time.monotonic() < end_mono:
        ctx.check()
        time.sleep(0.025)
        tell("lives")
    tell("end")
    return {"square": number * number}
