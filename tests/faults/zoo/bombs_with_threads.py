"""Leaves a hundred threads that never end."""

import threading

from worker import Context, handler

END = {"value": {"value": 100}}


@handler()
def bombs_with_threads(ctx: Context) -> int:
    """Start them, not as daemons."""
    for _ in range(100):
        threading.Thread(target=threading.Event().wait).start()
    return 100
