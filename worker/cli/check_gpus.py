"""Checks of the GPUs: which there are, and whether a run could be given them now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.cli import human
from worker.cli.checks import Check, ok, warn

if TYPE_CHECKING:
    from worker.machine.facts import Facts
    from worker.usage.gpu import Owner

__all__ = ["check_gpu_health", "check_gpus", "check_quarantine"]

LOOK_LIMIT_S: Final = 5.0  # the first look takes seconds where the driver is not kept loaded
TODO: Final = "no run is given it meanwhile; `nvidia-smi` and dmesg say more"


def check_gpus(facts: Facts) -> Check:
    """Look whether NVML tells of GPUs."""
    fact = facts.gpus
    if fact.state == "unknown":
        return warn("GPU", f"not known: {fact.reason}", "tasks that require a GPU are left; check the driver")
    if not fact.value:
        return ok("GPU", f"none ({fact.source})")
    names = ", ".join(f"{gpu.name} ({human.size(gpu.memory_bytes)})" for gpu in fact.value)
    return ok("GPU", f"{human.count(len(fact.value), 'GPU')}: {names}")


def check_quarantine(state_dir: Path, now: datetime) -> list[Check]:
    """Tell which GPUs the agent of this state folder has in quarantine."""
    from worker.agent.gpus.quarantine_file import QuarantineFile

    todo = "task after task failed on it at once: see their errors, `nvidia-smi` and dmesg"
    return [
        warn(f"GPU {uuid}", said_of_quarantine(until, now), todo)
        for uuid, until in QuarantineFile(state_dir).load().items()
    ]


def said_of_quarantine(until: datetime, now: datetime) -> str:
    """Say how long it goes on."""
    left_s = (until - now).total_seconds()
    return f"in quarantine for {left_s:.0f} s more" if left_s > 0 else "was in quarantine, and is to be tried"


async def check_gpu_health(facts: Facts, environment: Mapping[str, str], *, is_shared: bool) -> list[Check]:
    """Tell of each GPU that an agent would give to no run now, and why.

    Runs of an agent that works now are no strangers.
    """
    from worker.agent.gpus.health import ailment
    from worker.agent.gpus.pool import found_gpus
    from worker.clock import SystemClock
    from worker.machine.gpu_watch import GpuWatch

    gpus = found_gpus(facts)
    if not gpus:
        return []
    watch = GpuWatch(environment, SystemClock())
    running = asyncio.create_task(watch.run())
    await asyncio.sleep(0)  # it begins
    look = await watch.look_now(LOOK_LIMIT_S)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    if look is None:
        said = watch.error or f"NVML did not answer within {LOOK_LIMIT_S:g} s"
        return [warn("GPU health", f"not known: {said}", TODO)]
    ailing = [(gpu.uuid, ailment(look.of(gpu.uuid), owner_of, is_shared=is_shared)) for gpu in gpus]
    return [warn(f"GPU {uuid}", reason, TODO) for uuid, reason in ailing if reason is not None]


def owner_of(pid: int) -> Owner:
    """Return whose a process is, by the mark that agents give to theirs; see proc_pid_environ(5)."""
    from worker.executor.environment import TREE_MARK
    from worker.usage.gpu import Owner

    try:
        marks = Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:
        return Owner.STRANGER
    except OSError:
        return Owner.HIDDEN
    return Owner.RUN if f"{TREE_MARK}=".encode() in marks else Owner.STRANGER
