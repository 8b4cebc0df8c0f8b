"""Returns more than a result may hold."""

from worker import Context, handler

END = {"kind": "handler_error", "says": ["more than 262144", "ctx.artifact"]}


@handler()
def returns_too_much(ctx: Context) -> dict[str, str]:
    """Return 5 MB."""
    return {"text": "x" * 5_000_000}
