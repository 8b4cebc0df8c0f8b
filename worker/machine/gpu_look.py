"""What NVML says of the GPUs at one moment: written by `nvml_watch`, read by the agent."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

__all__ = ["PROGRAM_XIDS", "DeviceLook", "GpuProcess", "Look"]

# Xids that a program causes and that leave the GPU as it was; NVIDIA's Kubernetes device plugin leaves
# out the same ones (internal/rm/health.go). 13, 31, 43, 45: faults of a kernel, or its end; 68: of the
# video engine; 109: a context that took too long.
PROGRAM_XIDS: Final = frozenset({13, 31, 43, 45, 68, 109})


class GpuProcess(Struct, frozen=True, array_like=True):
    """One process that has a GPU open. Its pid is one of the driver's choice of namespace."""

    pid: int
    bytes: int | None  # of the GPU's memory; None where the driver does not say
    is_graphics: bool = False  # it draws: a display, or a renderer by Vulkan or OpenGL


class DeviceLook(Struct, frozen=True, kw_only=True):
    """One GPU, or one instance of MIG. Times are the driver's: µs of the time of day.

    What is None was not told, and `reasons` says why by the name of the field.
    """

    uuid: str
    at_us: int = 0  # when it was looked at
    error: str | None = None  # why nothing of it can be told: it is lost
    xid: int | None = None  # critical event since the watch began (NVIDIA's Xid numbers), see `PROGRAM_XIDS`
    is_instance: bool = False  # of MIG
    memory_used_bytes: int | None = None  # with what the driver keeps for itself
    memory_total_bytes: int | None = None
    processes: tuple[GpuProcess, ...] | None = None
    since_us: int = 0  # the last sample before `samples`
    samples: tuple[tuple[int, int], ...] | None = None  # time, percent of the time since the one before
    looked_before_us: int = 0  # `at_us` of the look before; 0: there was none
    process_samples: tuple[tuple[int, int, int], ...] | None = None  # pid, time, percent of the SMs
    energy_mj: int | None = None  # since the driver was loaded
    reasons: dict[str, str] = field(default_factory=dict)


class Look(Struct, frozen=True, kw_only=True):
    """All GPUs at one moment, or why there is none to be told."""

    devices: tuple[DeviceLook, ...] = ()
    failed: tuple[str, ...] = ()  # GPUs that do not even tell their UUID
    error: str | None = None  # NVML does not start
    kind: str = ""  # of the error; see `nvml_probe`

    def of(self, uuid: str) -> DeviceLook | None:
        """Return one GPU; None where it is not told of."""
        return next((one for one in self.devices if one.uuid == uuid), None)
