"""Computes for ever inside one call of C that looks at no signal and holds the interpreter's lock."""

import itertools

from worker import Context, handler

END = {"kind": "cancelled", "stop": "cancelled", "signal": "SIGKILL", "says": ["was killed"]}


@handler()
def loops_in_native_code(ctx: Context) -> None:
    """Add zeros up."""
    ctx.progress(0.1)
    sum(itertools.repeat(0))
