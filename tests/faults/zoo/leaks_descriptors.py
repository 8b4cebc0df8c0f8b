"""Opens six hundred files with each run and never closes one."""

import os

from worker import Context, handler

END = {"tasks": [{}, {}, {}], "value": {"value": 600}}


@handler()
def leaks_descriptors(ctx: Context) -> int:
    """Open."""
    return len([os.open("/dev/null", os.O_RDONLY) for _ in range(600)])
