"""Whether a GPU can be given to a run: what a look says of it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from worker.machine.gpu_look import PROGRAM_XIDS, DeviceLook
from worker.usage.gpu import Owner, sizes_by_pid

__all__ = ["ailment", "fatal_event"]

OTHERS_RATIO: Final = 0.25  # of the memory may be used by what is not ours; drivers keep 1 to 5 % themselves


def ailment(
    device: DeviceLook | None, owner: Callable[[int], Owner], *, is_shared: bool = False
) -> str | None:
    """Return why no run may be given a GPU now; None where it is well.

    Args:
        device: what NVML says of it; None where NVML does not list it.
        owner: whose a pid is; `Owner.RUN` is any process of this agent.
        is_shared: others may compute on it, as the operator says.
    """
    if device is None:
        return "NVML does not list it any more"
    if device.error is not None:
        return device.error
    if (event := fatal_event(device)) is not None:
        return event
    return None if is_shared else taken_by_others(device, owner)


def fatal_event(device: DeviceLook | None) -> str | None:
    """Return the critical event after which a GPU is not trusted any more; None where there was none."""
    if device is None or device.xid is None or device.xid in PROGRAM_XIDS:
        return None
    return f"it had the critical event Xid {device.xid}; dmesg says more"


def taken_by_others(device: DeviceLook, owner: Callable[[int], Owner]) -> str | None:
    """Return who else uses a GPU; displays do not count."""
    processes = [(one, owner(one.pid)) for one in device.processes or ()]
    for one, whose in processes:
        if whose is Owner.STRANGER and not one.is_graphics:
            return f"process {one.pid}, which is not of this agent, computes on it"
    sizes = sizes_by_pid(one for one, whose in processes if whose is Owner.RUN).values()
    is_known = device.processes is not None and Owner.HIDDEN not in (whose for _, whose in processes)
    if not is_known or None in sizes or device.memory_used_bytes is None or not device.memory_total_bytes:
        return None
    others_bytes = device.memory_used_bytes - sum(size or 0 for size in sizes)
    if others_bytes > OTHERS_RATIO * device.memory_total_bytes:
        gib = 1024**3
        return (
            f"{others_bytes / gib:.1f} of its {device.memory_total_bytes / gib:.1f} GiB are used by what is"
            " not of this agent"
        )
    return None
