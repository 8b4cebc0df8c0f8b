"""The GPUs, as NVML names them, asked in a process of its own with a time limit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from worker.machine.facts import Fact, Gpu

__all__ = ["GPU_FACTS", "PASSED_ON", "PROBE", "gpu_facts"]

PROBE = (sys.executable, "-P", "-m", "worker.machine.nvml_probe")  # -P: never code of the current folder
GPU_FACTS = ("gpuType", "gpus", "gpuDriver", "gpuCuda")
KILL_WAIT_S = 0.1  # a process that hangs in the driver does not end, not even killed: then it is left
left: list[subprocess.Popen[bytes]] = []  # those; reaped by the next look that comes after their end
MAX_REASON = 300  # characters
# What the loader, NVML and Python need. Nothing else goes to the probe: no token, above all.
PASSED_ON = (
    "PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "HOME",
    "SYSTEMROOT",
    "PROGRAMFILES",
    "LANG",
)
NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"  # PCI base class: VGA and 3D controllers


def gpu_facts(
    root: Path, environment: Mapping[str, str], *, limit_s: float, probe: Sequence[str] = PROBE
) -> dict[str, Fact]:
    """Return `GPU_FACTS` within `limit_s` (and a tenth of a second).

    Absent only where there is no trace of an NVIDIA driver or GPU *and* NVML is not there; a driver that
    is there and does not answer makes them unknown.
    """
    answer = ask(probe, environment, limit_s)
    if "error" not in answer:
        return facts_from(answer)
    trace = trace_of_nvidia(root)
    if trace is None and answer.get("kind") in {"library", "driver"}:
        return dict.fromkeys(GPU_FACTS, Fact.absent("no NVIDIA driver, no NVML"))
    notes = [note for note in (trace and f"{trace} is there", hint(answer)) if note]
    reason = f"{answer['error']} ({'; '.join(notes)})" if notes else answer["error"]
    return dict.fromkeys(GPU_FACTS, Fact.unknown(reason))


def facts_from(answer: dict[str, Any]) -> dict[str, Fact]:
    """Return the facts of an answer of NVML."""
    gpus = [Gpu(**gpu) for gpu in answer["gpus"]]
    source = "; ".join(["NVML", *(f"left out {failed}" for failed in answer["failed"])])[:MAX_REASON]
    driver = Fact.measured(answer["driver"], "NVML")
    version = answer["cuda"]
    cuda = Fact.unknown("NVML does not say it") if version is None else Fact.measured(version, "NVML")
    if gpus:
        kind, all_gpus = Fact.measured(gpu_type(gpus), source), Fact.measured(gpus, source)
    elif answer["failed"]:
        kind = all_gpus = Fact.unknown(source)
    else:
        kind = all_gpus = Fact.absent("NVML: no device")
    return {"gpuType": kind, "gpus": all_gpus, "gpuDriver": driver, "gpuCuda": cuda}


def gpu_type(gpus: Sequence[Gpu]) -> str:
    """Return the names as one text: ``2x NVIDIA H100 80GB HBM3``, ``NVIDIA L4 + 2x NVIDIA T4``."""
    counts = Counter(gpu.name for gpu in gpus)
    return " + ".join(name if count == 1 else f"{count}x {name}" for name, count in counts.items())


def ask(probe: Sequence[str], environment: Mapping[str, str], limit_s: float) -> dict[str, Any]:
    """Run the probe; return its answer, or an `error` where it has none in time."""
    passed_on = {name: environment[name] for name in PASSED_ON if name in environment}
    try:
        process = subprocess.Popen(
            probe, env=passed_on, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as exc:
        return {"error": f"the NVML probe could not be started: {exc.strerror}"}
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        stop(process)
        return {"error": f"NVML did not answer within {limit_s:g} s"}
    return parse(out, err, process.returncode)


def parse(out: bytes, err: bytes, code: int) -> dict[str, Any]:
    """Return the probe's answer; a crash in the driver's library leaves none."""
    with suppress(ValueError):
        answer = json.loads(out)
        if isinstance(answer, dict):
            return answer
    last = err.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return {"error": f"the NVML probe ended with {code} and no answer: {last}"[:MAX_REASON]}


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the probe and reap it if it lets itself be killed."""
    process.kill()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    try:
        process.wait(KILL_WAIT_S)
    except subprocess.TimeoutExpired:
        left.append(process)
    left[:] = [one for one in left if one.poll() is None]


def trace_of_nvidia(root: Path) -> str | None:
    """Return what tells of an NVIDIA driver or GPU on this machine; None where nothing does."""
    for trace in ("dev/nvidiactl", "dev/nvidia0", "proc/driver/nvidia"):
        if (root / trace).exists():
            return f"/{trace}"
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        with suppress(OSError):
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
            if vendor == NVIDIA_VENDOR and kind.startswith(DISPLAY_CLASS):
                return f"an NVIDIA GPU on PCI bus {device.name}"
    return None


def hint(answer: dict[str, Any]) -> str:
    """Return what to do where a driver or GPU is there and NVML cannot be used; "" where we do not know."""
    return {
        "library": "in a container NVIDIA_DRIVER_CAPABILITIES must include utility",
        "driver": "load the driver: `modprobe nvidia`; dmesg says why it does not",
        "versions": "the driver was updated while it was loaded: restart the machine, or load it anew",
        "permission": "the user of the agent must be allowed to open /dev/nvidiactl and /dev/nvidia*",
    }.get(answer.get("kind", ""), "")
