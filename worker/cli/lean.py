"""Programs that run for long load libraries without what those would only need to draw on a terminal."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from importlib import import_module
from typing import Final

__all__ = ["load_lean", "settle", "share_one_heap"]

M_ARENA_MAX: Final = -8  # malloc.h of glibc
DRAWING: Final = ("pygments", "rich")


def load_lean(*also: str) -> None:
    """Import structlog, and what else is named, as if rich and pygments were not installed.

    structlog imports them for tracebacks, of which ours are plain, httpx for a command of its own. They take
    a tenth of an agent's start and 5 MiB of its memory. Whoever imports them afterwards gets them.
    Where one is loaded already, nothing is gained, and nothing done.

    The garbage collector rests from here on until `settle`: it would look through all that is loaded, which
    stays, again and again.
    """
    if any(name in sys.modules for name in (*DRAWING, "structlog", *also)):
        return
    gc.disable()
    absent = dict.fromkeys(DRAWING)
    sys.modules.update(absent)  # type: ignore[arg-type]  # None: an import says that there is no such module
    try:
        for name in ("structlog", *also):
            import_module(name)
    finally:
        for name in DRAWING:
            del sys.modules[name]


def settle() -> None:
    """Have the garbage collector look at what comes from now on, and never again at what was loaded."""
    gc.freeze()
    gc.enable()


def share_one_heap() -> None:
    """Have all threads take memory from one heap of the C library, unless the environment says otherwise.

    glibc gives each thread that it can one of its own, of which most stays unused, and none is shared again;
    our threads wait nearly always, and hold Python's lock when they do not. To be called before they start.
    """
    is_told = "MALLOC_ARENA_MAX" in os.environ or "glibc.malloc.arena_" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )
    if not is_told and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)
