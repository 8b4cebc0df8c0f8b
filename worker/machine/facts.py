# ruff: noqa: N815 - field names are those of `createRunBody`
"""Facts with provenance: a value and its source, or no value and the reason."""

from __future__ import annotations

from typing import Any, Literal, Self

from msgspec import Struct

__all__ = ["Fact", "Facts", "Gpu"]

State = Literal["measured", "absent", "unknown"]


class Fact(Struct, frozen=True):
    """One fact: measured (with its source), absent (known to be none), or unknown (with the reason)."""

    state: State
    value: Any = None
    source: str = ""  # where it was read, for measured and absent
    reason: str = ""  # why it is unknown, and how to provide it

    @classmethod
    def measured(cls, value: Any, source: str) -> Self:
        """Return a fact that was read from a source."""
        return cls("measured", value, source)

    @classmethod
    def absent(cls, source: str) -> Self:
        """Return a fact that is known to have no value: no limit is set, there is no GPU."""
        return cls("absent", None, source)

    @classmethod
    def unknown(cls, reason: str) -> Self:
        """Return a fact that could not be read."""
        return cls("unknown", None, "", reason)


class Gpu(Struct, frozen=True, kw_only=True):
    """One GPU as NVML names it, or one instance of a GPU that is parted by MIG."""

    uuid: str  # what CUDA_VISIBLE_DEVICES takes
    name: str
    memory_bytes: int | None = None
    pci_id: str | None = None  # domain:bus:device.function
    mig_of: str | None = None  # the UUID of the GPU that an instance is part of
    share: float = 1.0  # of a whole GPU: the slices of an instance by those that there are


class Facts(Struct, frozen=True, kw_only=True):
    """Every fact of the machine that a run carries. Field names are those of `createRunBody`.

    Units: CPUs in vCPUs (fractional), RAM in bytes. `gpus` is a list of `Gpu`.
    """

    requestCPUs: Fact
    limitCPUs: Fact
    nodeCPUs: Fact
    requestRAM: Fact
    limitRAM: Fact
    nodeRAM: Fact
    cpuPlatform: Fact
    machineType: Fact
    gpuType: Fact
    gpus: Fact
    gpuDriver: Fact
    gpuCuda: Fact  # the newest version of CUDA that the driver knows
    instanceID: Fact
    zone: Fact
    preemptible: Fact
    podId: Fact  # the pod's uid or the host's name; the agent's id is added in the identity
    hostname: Fact
    os: Fact

    def items(self) -> list[tuple[str, Fact]]:
        """Return the facts by name, in the order of their declaration."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__]

    def as_run_fields(self) -> dict[str, Any]:
        """Return the machine's fields of `createRunBody`; unknown and absent are null.

        `podId` is left out: it is half of the identity, which the claim adds.
        """
        names = (
            "requestCPUs", "limitCPUs", "nodeCPUs", "requestRAM", "limitRAM", "nodeRAM", "cpuPlatform",
            "machineType", "gpuType", "instanceID", "zone", "preemptible",
        )  # fmt: skip
        return {name: getattr(self, name).value for name in names}
