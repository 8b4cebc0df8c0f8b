"""Nests folders eleven hundred deep, deeper than any path may be long and any recursion goes."""

import os

from worker import Context, handler

END = {"value": {"value": 1100}}


@handler()
def nests_folders(ctx: Context) -> int:
    """Go down."""
    for depth in range(1100):
        os.mkdir("d")  # noqa: PTH102 - relative, as it must be here
        os.chdir("d")
        if depth % 500 == 0:
            os.close(os.open("file", os.O_CREAT))
    return 1100
