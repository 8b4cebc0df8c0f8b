"""Detect every fact of the machine, all at once, within one time limit."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from worker.config import AgentConfig
from worker.machine.chosen_gpus import with_chosen
from worker.machine.cloud import CLOUD_FACTS
from worker.machine.cpu import cpu_facts, node_cpus
from worker.machine.facts import Fact, Facts
from worker.machine.gpu import GPU_FACTS, PROBE, gpu_facts
from worker.machine.in_cloud import Clouds
from worker.machine.kubernetes import kubernetes_facts
from worker.machine.memory import memory_facts, node_memory
from worker.machine.place import place_facts, with_cloud

__all__ = ["as_machine", "clouds_of", "detect", "detect_configured"]

LIMIT_S = 2.0  # of all facts together; an agent starts without those that take longer
CLOUD_MARGIN_S = 0.5  # so that a cloud that does not answer is named, also where threads start late
GPU_MARGIN_S = 0.3  # so that a hanging NVML is named as such, before the whole limit ends

Detector = Callable[[], dict[str, Fact]]


async def detect(
    environment: Mapping[str, str],
    *,
    zone: str | None = None,
    machine_type: str | None = None,
    preemptible: bool | None = None,
    request_cpus: float | None = None,
    request_ram_bytes: int | None = None,
    root: Path = Path("/"),
    limit_s: float = LIMIT_S,
    gpu_probe: Sequence[str] = PROBE,
    gpus: Sequence[str] = (),
    clouds: Clouds | None = None,
) -> Facts:
    """Return what this machine is, after `limit_s` at most; what was not found out by then is unknown.

    Args:
        environment: the environment variables; only those named in `docs/facts.md` are looked at.
        zone: where the machine is, as a person configured it; so the next four, and they win.
        machine_type: what its provider calls machines of this kind.
        preemptible: whether the provider may take the machine away at any time.
        request_cpus: the vCPUs that were asked for.
        request_ram_bytes: the memory that was asked for.
        root: stands for `/`, for recorded machines.
        limit_s: for all of it, in seconds.
        gpu_probe: the command that asks NVML.
        gpus: which of them are meant, see `with_chosen`; left out, all.
        clouds: whose metadata are asked; left out, nobody's.
    """
    hostname = socket.gethostname()
    detectors: list[tuple[Detector, tuple[str, ...]]] = [
        (lambda: cpu_facts(root, affinity=affinity(), logical=node_cpus()),
         ("limitCPUs", "nodeCPUs", "cpuPlatform")),
        (lambda: all_memory_facts(root), ("limitRAM", "nodeRAM")),
        (lambda: place_facts(
            root, hostname=hostname, zone=zone, kind=machine_type, preemptible=preemptible
         ), ("machineType", "instanceID", "zone", "preemptible", "hostname", "os")),
        (lambda: kubernetes_facts(
            environment, hostname=hostname, request_cpus=request_cpus, request_ram_bytes=request_ram_bytes
         ), ("requestCPUs", "requestRAM", "podId")),
        (lambda: with_chosen(
            gpu_facts(root, environment, limit_s=max(limit_s - GPU_MARGIN_S, 0.1), probe=gpu_probe), gpus
         ), GPU_FACTS),
    ]  # fmt: skip
    cloud_limit_s = max(limit_s - CLOUD_MARGIN_S, 0.1)
    cloud, *groups = await asyncio.gather(
        within(limit_s, (clouds or Clouds(root, "none", {})).ask(cloud_limit_s), CLOUD_FACTS),
        *(within(limit_s, asyncio.to_thread(detector), names) for detector, names in detectors),
    )
    return Facts(**with_cloud({name: fact for group in groups for name, fact in group.items()}, cloud))


async def within(
    limit_s: float, detecting: Awaitable[dict[str, Fact]], names: Sequence[str]
) -> dict[str, Fact]:
    """Wait for one detector beside the others; late or broken, its facts are unknown with the reason."""
    try:
        async with asyncio.timeout(limit_s):
            return await detecting
    except TimeoutError:
        return dict.fromkeys(names, Fact.unknown(f"not found out within {limit_s:g} s"))
    except Exception as exc:  # noqa: BLE001 - a strange machine must not keep an agent from its work
        return dict.fromkeys(names, Fact.unknown(f"{type(exc).__name__}: {exc}"))


def all_memory_facts(root: Path) -> dict[str, Fact]:
    """Return the facts of memory on this machine."""
    total_bytes, source = node_memory(root)
    return memory_facts(root, total_bytes=total_bytes, source=source)


def affinity() -> int | None:
    """Return on how many CPUs this process may run; None where the system has no such call."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


async def detect_configured(
    config: AgentConfig, environment: Mapping[str, str], clouds: Clouds | None = None
) -> Facts:
    """Return what this machine is; what a person configured counts more.

    `clouds` are those that the configuration names, where others go on to ask them.
    """
    return await detect(
        environment,
        zone=config.zone,
        machine_type=config.machine_type,
        preemptible=config.preemptible,
        request_cpus=config.request_cpus,
        request_ram_bytes=config.request_ram_bytes,
        gpus=config.gpus,
        clouds=clouds or clouds_of(config, environment),
    )


def clouds_of(config: AgentConfig, environment: Mapping[str, str]) -> Clouds:
    """Return the clouds that may be asked on this machine."""
    return Clouds(Path("/"), config.cloud, environment)


def as_machine(facts: Facts) -> dict[str, Any]:
    """Return every fact as JSON: its state, with value and source, or with the reason."""
    return {name: shown(fact) for name, fact in facts.items()}


def shown(fact: Fact) -> dict[str, Any]:
    """Return one fact as JSON."""
    if fact.state == "unknown":
        return {"state": fact.state, "value": None, "reason": fact.reason}
    return {"state": fact.state, "value": msgspec.to_builtins(fact.value), "source": fact.source}
