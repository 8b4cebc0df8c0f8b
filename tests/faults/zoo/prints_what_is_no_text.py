"""Prints invalid UTF-8, control characters, NUL and commands for terminals."""

import os

from worker import Context, handler

END = {
    "value": {"value": "printed"},
    "log": ["seen first", "seen last"],
    "log_not": ["\x00", "\x1b", "\x07", "\x9b", "\u202e"],
}


@handler()
def prints_what_is_no_text(ctx: Context) -> str:
    """Write bytes of every kind, and log some."""
    os.write(
        1, b"seen first\n" + bytes(range(256)) + b"\n\xff\xfe\xc0\x80\xed\xa0\x80\n\x1b]0;title\x07\x1b[2J\n"
    )
    os.write(2, "\u202e turned round \x9b31m\n".encode())
    ctx.log("\x00 \x1b[31m \ud800 \u202e")
    ctx.progress(0.5, "\x00 \x1b[31m \ud800")
    ctx.log("seen last")
    return "printed"
