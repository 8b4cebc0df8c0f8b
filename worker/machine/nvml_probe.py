"""Ask NVML for the GPUs and print what it says as one line of JSON: a program of its own.

NVML may hang in the driver for good, so it never runs in the agent: `gpu.py` starts this with a time limit.
Prints ``{"driver": …, "cuda": …, "gpus": [the fields of `Gpu`], "failed": [text]}``, or
``{"error": text, "kind": one of `KINDS` | "bindings" | "other"}``. Always exits 0 then.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

__all__ = ["devices", "main", "start", "text"]

# What nvmlInit may answer that a person can do something about, by its codes (nvml.h, nvmlReturn_t).
KINDS: Final = {4: "permission", 9: "driver", 12: "library", 18: "versions"}
SLICES: Final = 7  # of a GPU with MIG (NVIDIA's MIG user guide, supported profiles)
SLICES_A30: Final = 4  # the one exception there


def main() -> None:
    """Print what NVML says."""
    sys.stdout.write(json.dumps(probe()) + "\n")


def probe() -> dict[str, Any]:
    """Return the GPUs, or why they cannot be told."""
    try:
        import pynvml  # noqa: PLC0415 - its absence is an answer
    except ImportError as exc:
        return {"error": f"nvidia-ml-py is not installed: {exc}", "kind": "bindings"}
    if (failure := start(pynvml)) is not None:
        return failure
    try:
        return describe(pynvml)
    except pynvml.NVMLError as exc:
        return {"error": f"NVML failed: {exc}", "kind": "other"}
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def start(pynvml: Any) -> dict[str, Any] | None:
    """Start NVML; return why that is not possible, None where it is."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as exc:
        kind = KINDS.get(getattr(exc, "value", -1), "other")
        return {"error": f"NVML could not be started: {exc}", "kind": kind}
    return None


def describe(pynvml: Any) -> dict[str, Any]:
    """Return driver and GPUs; one GPU that fails does not hide the others."""
    gpus, failed = [], []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            found = [describe_gpu(pynvml, *device) for device in devices(pynvml, index)]
        except pynvml.NVMLError as exc:
            failed.append(f"GPU {index}: {exc}")
            continue
        gpus += found
        if not found:
            failed.append(f"GPU {index}: MIG is on, and it has no instance")
    return {
        "driver": text(pynvml.nvmlSystemGetDriverVersion()),
        "cuda": cuda_version(pynvml),
        "gpus": gpus,
        "failed": failed,
    }


def devices(pynvml: Any, index: int) -> Iterator[tuple[Any, Any]]:
    """Yield what CUDA can be given of one GPU: itself, or its MIG instances; each with the GPU's handle.

    Raises: NVMLError where the GPU does not answer.
    """
    parent = pynvml.nvmlDeviceGetHandleByIndex(index)
    if not has_mig(pynvml, parent):
        yield parent, parent
        return
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(parent)):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, number), parent
        except pynvml.NVMLError_NotFound:  # numbers have gaps
            continue


def has_mig(pynvml: Any, handle: Any) -> bool:
    """Tell whether a GPU is parted into instances."""
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return False


def describe_gpu(pynvml: Any, handle: Any, parent: Any) -> dict[str, Any]:
    """Return one GPU, or one instance; its memory is None where the board shares the machine's."""
    described: dict[str, Any] = {
        "uuid": text(pynvml.nvmlDeviceGetUUID(handle)),
        "name": text(pynvml.nvmlDeviceGetName(handle)),
        "memory_bytes": memory_bytes(pynvml, handle),
        "pci_id": pci_id(pynvml, parent),
    }
    if handle is parent:
        return described
    slices = int(pynvml.nvmlDeviceGetAttributes_v2(handle).gpuInstanceSliceCount)
    all_slices = SLICES_A30 if "A30" in described["name"].split() else SLICES
    return described | {"mig_of": text(pynvml.nvmlDeviceGetUUID(parent)), "share": slices / all_slices}


def memory_bytes(pynvml: Any, handle: Any) -> int | None:
    """Return the memory of a GPU."""
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError_NotSupported:
        return None


def pci_id(pynvml: Any, handle: Any) -> str | None:
    """Return where a GPU is on the bus; None where NVML does not say, as in some virtual machines."""
    try:
        return text(pynvml.nvmlDeviceGetPciInfo_v3(handle).busId)
    except pynvml.NVMLError:
        return None


def cuda_version(pynvml: Any) -> str | None:
    """Return the newest CUDA that the driver knows, as ``12.8``; None where NVML does not say."""
    try:
        number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    except pynvml.NVMLError:
        return None
    return f"{number // 1000}.{number % 1000 // 10}"


def text(value: str | bytes) -> str:
    """Return text: an older package of the same import name returns bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main()
