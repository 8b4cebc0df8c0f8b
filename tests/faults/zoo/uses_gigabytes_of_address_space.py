"""Reserves far more address space than there is memory, and touches none of it, as CUDA does."""

import mmap

from worker import Context, handler

END = {"value": {"value": "reserved"}}
KEPT: list[mmap.mmap] = []
MAP_NORESERVE = 0x4000  # Python has no name for it


@handler()
def uses_gigabytes_of_address_space(ctx: Context) -> str:
    """Reserve."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    KEPT.append(mmap.mmap(-1, 1 << 40, flags=flags, prot=0))
    return "reserved"
