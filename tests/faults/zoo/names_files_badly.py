"""Leaves files whose names are no text, hold line ends, or look like options and globs."""

import os

from worker import Context, handler

END = {"value": {"value": 6}}


@handler()
def names_files_badly(ctx: Context) -> int:
    """Create them."""
    for name in (b"a\nb", b"\xff\xfe", b"-rf", b"*", b" ", b"n" * 255):
        os.close(os.open(os.path.join(os.fsencode(ctx.workdir), name), os.O_CREAT))  # noqa: PTH118
    return len(list(ctx.workdir.iterdir()))
