"""Leaves a pool, shared memory and the resource tracker of multiprocessing behind."""

import multiprocessing
from multiprocessing import shared_memory

from worker import Context, handler

END = {"value": {"value": [0, 1, 4]}, "weight": 1}
KEPT: list[object] = []


def square(number: int) -> int:
    """Work."""
    return number * number


@handler()
def leaves_multiprocessing_behind(ctx: Context) -> list[int]:
    """Use them, and keep them open."""
    memory = shared_memory.SharedMemory(create=True, size=1024)
    pool = multiprocessing.get_context("fork").Pool(2)
    KEPT.extend([memory, pool])
    memory.unlink()
    return pool.map(square, range(3))
