"""Asks for more memory than there is, and Python refuses: no kill, the handler's own error."""

from worker import Context, handler

END = {"kind": "handler_error", "says": ["MemoryError"]}


@handler()
def asks_for_too_much_memory(ctx: Context) -> int:
    """Ask."""
    return len(bytearray(1 << 62))
