"""What a pod is told of itself by the downward API, as environment variables of the container.

Manifests set them by `fieldRef` and `resourceFieldRef`; `docs/facts.md` shows how. They are frozen when
the container starts: limits come from cgroups instead, only what cgroups do not hold is taken from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import quote

from worker.machine.facts import Fact

__all__ = ["POD_UID", "REQUEST_CPU", "REQUEST_CPU_MILLICORES", "REQUEST_MEMORY", "kubernetes_facts"]

POD_UID = "MILLHAND_POD_UID"  # metadata.uid
REQUEST_CPU_MILLICORES = "MILLHAND_REQUEST_CPU_MILLICORES"  # requests.cpu with divisor 1m: 1500
REQUEST_CPU = "MILLHAND_REQUEST_CPU"  # a quantity that somebody wrote: 1.5 or 1500m
REQUEST_MEMORY = "MILLHAND_REQUEST_MEMORY"  # requests.memory: bytes, or a quantity like 2Gi

# Quantities: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(m|[kMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")
BINARY = "KMGTPE"
DECIMAL = "kMGTPE"
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


def kubernetes_facts(
    environment: Mapping[str, str],
    *,
    hostname: str,
    request_cpus: float | None = None,
    request_ram_bytes: int | None = None,
) -> dict[str, Fact]:
    """Return requestCPUs, requestRAM and podId; a configured request wins over the pod's."""
    return {
        "requestCPUs": configured("request_cpus", request_cpus) or request_cpus_of_pod(environment),
        "requestRAM": configured("request_ram", request_ram_bytes)
        or requested(environment, {REQUEST_MEMORY: Decimal(1)}, int, "MILLHAND_REQUEST_RAM"),
        "podId": pod_id(environment, hostname),
    }


def pod_id(environment: Mapping[str, str], hostname: str) -> Fact:
    """Return the pod's uid, elsewhere the host's name; as a header can carry it."""
    uid = environment.get(POD_UID, "").strip()
    if uid:
        return Fact.measured(sendable(uid), POD_UID)
    if hostname:
        return Fact.measured(sendable(hostname), "hostname")
    return Fact.unknown(f"the host has no name; set {POD_UID}")


def sendable(name: str) -> str:
    """Return a name in printable ASCII; what else is in it, as in URLs."""
    return quote(name, safe=PRINTABLE, errors="surrogateescape")


def request_cpus_of_pod(environment: Mapping[str, str]) -> Fact:
    """Return the vCPUs that the pod asks for."""
    units = {REQUEST_CPU_MILLICORES: Decimal("0.001"), REQUEST_CPU: Decimal(1)}
    return requested(environment, units, float, "MILLHAND_REQUEST_CPUS")


def requested(
    environment: Mapping[str, str], units: Mapping[str, Decimal], kind: type[int] | type[float], setting: str
) -> Fact:
    """Return what the first of some variables says; zero is how the downward API says "nothing"."""
    for name, unit in units.items():
        text = environment.get(name, "").strip()
        if not text:
            continue
        quantity = parse_quantity(text)
        if quantity is None:
            return Fact.unknown(f"{name} is {text[:40]!r}, which is not a quantity like 1500m, 1.5 or 2Gi")
        return Fact.measured(kind(quantity * unit), name) if quantity else Fact.absent(name)
    if "KUBERNETES_SERVICE_HOST" not in environment:
        return Fact.absent("not in a pod (no KUBERNETES_SERVICE_HOST)")
    return Fact.unknown(f"set {' or '.join(units)} by the downward API, or {setting}")


def configured(setting: str, value: float | None) -> Fact | None:
    """Return a configured value as a fact; None where nothing is configured."""
    return None if value is None else Fact.measured(value, f"configuration: {setting}")


def parse_quantity(text: str) -> Decimal | None:
    """Return the number of a Kubernetes quantity; None where the text is none."""
    match = QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix == "m":
        return number / 1000
    if suffix.endswith("i"):
        return number * Decimal(1024) ** (BINARY.index(suffix[0]) + 1)
    if suffix and suffix in DECIMAL:
        return number * Decimal(1000) ** (DECIMAL.index(suffix) + 1)
    return Decimal(match[1] + suffix)
