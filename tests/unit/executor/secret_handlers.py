"""Handlers that tell secrets in every way there is."""

import base64
import os
import sys
from typing import Any

from worker import Context, Fail, Secret, handler

KEPT: list[str] = []


@handler()
def tell_secrets(ctx: Context, *, way: str, key: Secret, other: str) -> dict[str, Any]:
    """Tell one that is known to be a secret, one of the agent, and one that is made here."""
    made = ctx.secret(key[::-1]) + " " + ctx.secret(other[::-1])
    text = f"seen anyway: {key} {other} {made} {base64.b64encode(key.encode()).decode()}"
    if way == "stdout":
        os.write(1, text.encode())
    if way == "stderr":
        sys.stderr.write(text)
    if way == "log":
        ctx.log(text, key=key)
    if way == "progress":
        ctx.progress(0.5, text)
    if way == "checkpoint":
        ctx.checkpoint({"deep": [text]})
    if way == "raise":
        raise ValueError(text)
    if way == "fail":
        raise Fail(text)
    return {"deep": [text], key: 1} if way == "return" else {}


@handler()
def print_at_once(ctx: Context, *, key: Secret) -> None:
    """Print a secret before anything else."""
    os.write(1, key.encode())


@handler()
def keep_and_print(ctx: Context, *, key: Secret) -> None:
    """Print the secrets of all runs."""
    KEPT.append(key)
    os.write(1, " ".join(KEPT).encode())


@handler()
def die_printing(ctx: Context, *, key: Secret) -> None:
    """Say why, and die."""
    os.write(2, f"no licence for {key}\n".encode())
    os._exit(3)
