"""Makes itself the last that the kernel would kill for want of memory."""

import contextlib
from pathlib import Path

from worker import Context, handler

END = {"value": {"value": "tried"}}


@handler()
def wants_to_be_spared(ctx: Context) -> str:
    """Write its own score, as far as it may."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-1000")
    return "tried"
