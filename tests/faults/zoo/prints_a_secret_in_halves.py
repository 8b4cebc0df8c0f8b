"""Prints and logs a secret in pieces, encoded, in its error and in its result."""

import base64
import os
import time
from urllib.parse import quote

from worker import Context, handler

END = {
    "kind": "handler_error",
    "says": ["could not log in"],
    "says_not": ["kX9/tz+Q4mm2vYw8"],
    "log": ["first half"],
    "log_not": ["kX9/tz+Q4mm2vYw8", "kX9%2Ftz%2BQ4mm2vYw8", "a1g5L3R6K1E0bW0ydll3O"],
}


@handler()
def prints_a_secret_in_halves(ctx: Context) -> None:
    """Tell it by every way."""
    secret = ctx.secret("kX9/tz+Q4mm2vYw8")
    os.write(1, b"first half " + secret[:7].encode())
    time.sleep(0.05)
    os.write(1, secret[7:].encode() + b"\n")
    ctx.log(f"url ftp://user:{quote(secret, safe='')}@host {base64.b64encode(secret.encode()).decode()}")
    ctx.progress(0.5, secret)
    raise ValueError(f"could not log in with {secret}")
