"""Ask NVML for the GPUs and print what it says as one line of JSON: a program of its own.

NVML may hang in the driver for good, so it never runs in the agent: `gpu.py` starts this with a time limit.
Prints ``{"driver": …, "gpus": [{"uuid", "name", "memory_bytes"}], "failed": [text]}``, or
``{"error": text, "kind": "library" | "driver" | "bindings" | "other"}``. Always exits 0 then.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

__all__ = ["main"]


def main() -> None:
    """Print what NVML says."""
    sys.stdout.write(json.dumps(probe()) + "\n")


def probe() -> dict[str, Any]:
    """Return the GPUs, or why they cannot be told."""
    try:
        import pynvml  # noqa: PLC0415 - its absence is an answer
    except ImportError as exc:
        return {"error": f"nvidia-ml-py is not installed: {exc}", "kind": "bindings"}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as exc:
        return {"error": f"NVML could not be started: {exc}", "kind": kind_of(exc, pynvml)}
    try:
        return describe(pynvml)
    except pynvml.NVMLError as exc:
        return {"error": f"NVML failed: {exc}", "kind": "other"}
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def kind_of(error: Exception, pynvml: Any) -> str:
    """Sort the error of the start: no library, no driver, or anything else."""
    code = getattr(error, "value", None)
    if code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return "library"
    return "driver" if code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED else "other"


def describe(pynvml: Any) -> dict[str, Any]:
    """Return driver and GPUs; one GPU that fails does not hide the others."""
    gpus, failed = [], []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            gpus.append(describe_gpu(pynvml, index))
        except pynvml.NVMLError as exc:
            failed.append(f"GPU {index}: {exc}")
    return {"driver": text(pynvml.nvmlSystemGetDriverVersion()), "gpus": gpus, "failed": failed}


def describe_gpu(pynvml: Any, index: int) -> dict[str, Any]:
    """Return one GPU; its memory is None where the board shares the machine's."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    try:
        memory_bytes = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError_NotSupported:
        memory_bytes = None
    return {
        "uuid": text(pynvml.nvmlDeviceGetUUID(handle)),
        "name": text(pynvml.nvmlDeviceGetName(handle)),
        "memory_bytes": memory_bytes,
    }


def text(value: str | bytes) -> str:
    """Return text: an older package of the same import name returns bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main()
