"""Where the machine is and what it is called: type, instance, zone, preemptible, name, system."""

from __future__ import annotations

import hashlib
import hmac
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from worker.machine.facts import Fact

__all__ = ["hashed_machine_id", "place_facts", "with_cloud"]

# A machine id is confidential (machine-id(5)): only a keyed hash of it leaves the machine.
APPLICATION = b"millhand instance 1"
CONFIGURED = "configuration: "  # what a person said counts more than what a cloud says
PLACEHOLDERS = {
    "",
    "none",
    "default string",
    "system product name",
    "to be filled by o.e.m.",
    "not specified",
}


def place_facts(
    root: Path,
    *,
    hostname: str,
    zone: str | None = None,
    kind: str | None = None,
    preemptible: bool | None = None,
) -> dict[str, Fact]:
    """Return the facts of the place; zone, kind of machine and preemptible are what a person configured."""
    named = configured("machine_type", kind, "MILLHAND_MACHINE_TYPE")
    return {
        "machineType": named if kind else machine_type(root),
        "instanceID": instance_id(root),
        "zone": configured("zone", zone, "MILLHAND_ZONE"),
        "preemptible": configured("preemptible", preemptible, "MILLHAND_PREEMPTIBLE"),
        "hostname": Fact.measured(hostname, "hostname") if hostname else Fact.unknown("the host has no name"),
        "os": operating_system(root),
    }


def with_cloud(facts: Mapping[str, Fact], cloud: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return the facts, with those that a cloud knows better: all but what a person configured.

    Where neither knows, both reasons are given, the last of them what to set.
    """
    return {**facts, **{name: better(facts[name], fact) for name, fact in cloud.items()}}


def better(own: Fact, cloud: Fact) -> Fact:
    """Return the one of two facts that counts."""
    if cloud.state == "unknown" and own.state == "unknown":
        return Fact.unknown(f"{cloud.reason}; {own.reason}")
    is_told = own.state == "measured" and own.source.startswith(CONFIGURED)
    return own if is_told or cloud.state == "unknown" else cloud


def configured(setting: str, value: str | bool | None, variable: str) -> Fact:
    """Return what a person knows of the machine, else how to tell it."""
    if value is None:
        return Fact.unknown(f"set {variable}")
    return Fact.measured(value, f"{CONFIGURED}{setting}")


def machine_type(root: Path) -> Fact:
    """Return the product's name that the firmware gives (DMI)."""
    path = "sys/class/dmi/id/product_name"
    try:
        name = (root / path).read_text(errors="replace").strip()
    except OSError as exc:
        return Fact.unknown(f"/{path} could not be read: {exc.strerror}")
    if name.lower() in PLACEHOLDERS:
        return Fact.unknown(f"/{path} holds a placeholder: {name!r}")
    return Fact.measured(name, f"/{path}")


def instance_id(root: Path) -> Fact:
    """Return a name for this installation that says nothing else of it."""
    hashed = hashed_machine_id(root)
    if hashed is None:
        return Fact.unknown("/etc/machine-id is missing or not yet set; systemd-machine-id-setup makes one")
    return Fact.measured(hashed, "/etc/machine-id, hashed")


def hashed_machine_id(root: Path) -> str | None:
    """Return the machine id under a hash of our own (as sd_id128_get_machine_app_specific(3) does)."""
    for name in ("etc/machine-id", "var/lib/dbus/machine-id"):
        try:
            machine_id = (root / name).read_text(errors="replace").strip()
        except OSError:
            continue
        if re.fullmatch("[0-9a-f]{32}", machine_id):  # not "uninitialized", not empty
            return hmac.new(bytes.fromhex(machine_id), APPLICATION, hashlib.sha256).hexdigest()[:32]
    return None


def operating_system(root: Path) -> Fact:
    """Return the distribution, the kernel and the architecture."""
    system = platform.uname()
    kernel = f"{system.system} {system.release} {system.machine}".strip()
    try:
        lines = (root / "etc/os-release").read_text(errors="replace").splitlines()
    except OSError:
        return Fact.measured(kernel, "uname")
    names = [line.partition("=")[2].strip("\"'") for line in lines if line.startswith("PRETTY_NAME=")]
    return Fact.measured(", ".join([*names[:1], kernel]), "/etc/os-release, uname" if names else "uname")
