"""Made-up machines."""

from __future__ import annotations

from typing import Any

from worker.machine.facts import Fact, Facts, Gpu

__all__ = ["A100", "GIB", "L4", "machine", "unknown"]

GIB = 1024**3
SOURCE = "made up"
L4 = Gpu(uuid="GPU-1", name="NVIDIA L4", memory_bytes=24 * GIB)
A100 = Gpu(uuid="GPU-2", name="NVIDIA A100-SXM4-80GB", memory_bytes=80 * GIB)


def unknown(reason: str = "nothing tells") -> Fact:
    """Return a fact that could not be read."""
    return Fact.unknown(reason)


def machine(*gpus: Gpu, **facts: Fact | Any) -> Facts:
    """Return a machine of 8 CPUs and 16 GiB without limits; plain values are measured ones."""
    known: dict[str, Any] = {name: unknown() for name in Facts.__struct_fields__}
    known |= {"limitCPUs": Fact.absent(SOURCE), "nodeCPUs": 8}
    known |= {"limitRAM": Fact.absent(SOURCE), "nodeRAM": 16 * GIB, "gpus": list(gpus)} | facts
    return Facts(
        **{
            name: fact if isinstance(fact, Fact) else Fact.measured(fact, SOURCE)
            for name, fact in known.items()
        }
    )
