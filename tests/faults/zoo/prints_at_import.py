"""Prints, closes and writes to every descriptor it can find while it is imported."""

import os

from worker import Context, handler

END = {"value": {"value": "imported"}, "log": ["printed at import"]}

print("printed at import")
os.write(1, b"and below Python\n")


@handler(isolation="fresh")
def prints_at_import(ctx: Context) -> str:
    """Return."""
    return "imported"
