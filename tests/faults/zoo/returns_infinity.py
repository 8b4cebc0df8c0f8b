"""Returns a number that is none in JSON."""

import math

from worker import Context, handler

END = {"kind": "handler_error", "says": ["result.loss", "None where unknown"]}


@handler()
def returns_infinity(ctx: Context) -> dict[str, float]:
    """Return it."""
    return {"loss": math.inf}
