"""Forks, and lets both processes return; only one of them is the run."""

import os

from worker import Context, handler

END = {"value": {"is_copy": False}}


@handler()
def forks_and_both_return(ctx: Context) -> dict[str, bool]:
    """Fork."""
    return {"is_copy": os.fork() == 0}
