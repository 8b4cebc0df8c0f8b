"""The engine's command line for one run: pure, and the one place where options of containers are written.

A task chooses image, command, variables, and how much of what it may have; it never adds an option, a mount,
a device or a privilege.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from handlers.containers.order import Limits

__all__ = ["Spec", "create_arguments"]

# What docker's client takes from its configuration into every container, credentials included.
PROXIES = tuple(f"{name}_proxy" for name in ("http", "https", "ftp", "no", "all"))


class Spec(NamedTuple):
    """One container to be."""

    name: str
    image: str  # an image's id: what was allowed is what is run
    command: Sequence[str]
    entrypoint: str | None
    labels: Mapping[str, str]
    env: Mapping[str, str]
    mounts: Sequence[tuple[Path, str, bool]]  # here, there, whether it is read-only
    user: tuple[int, int]
    network: str
    gpus: Sequence[str]
    limits: Limits
    is_readonly: bool


def create_arguments(spec: Spec, *, is_podman: bool, is_rootless: bool) -> list[str]:
    """Return the arguments behind the engine's name."""
    return [
        "create",
        f"--name={spec.name}",
        *(f"--label={name}={value}" for name, value in spec.labels.items()),
        "--pull=never",  # it was pulled before, where that was meant
        "--log-driver=none",  # what it prints is read here; the engine would keep it on the disk, unbounded
        "--init",
        f"--network={spec.network}",
        f"--user={spec.user[0]}:{spec.user[1]}",
        *(["--userns=keep-id"] if is_podman and is_rootless else []),
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        *limit_options(spec.limits),
        *(["--read-only"] if spec.is_readonly else []),
        "--tmpfs=/tmp:rw,exec,nosuid,nodev,mode=1777",
        *(f"--mount={mount(*one)}" for one in spec.mounts),
        *(f"--env={name}={value}" for name, value in spec.env.items()),
        *no_proxies(spec.env, is_podman=is_podman),
        *gpu_options(spec.gpus, is_podman=is_podman),
        *([] if spec.entrypoint is None else [f"--entrypoint={spec.entrypoint}"]),
        spec.image,
        *spec.command,
    ]


def no_proxies(env: Mapping[str, str], *, is_podman: bool) -> list[str]:
    """Return the options that keep the proxies of this machine, with their credentials, out of the container.

    Docker has no switch for it, but what is set, be it to nothing, it leaves alone.
    """
    if is_podman:
        return ["--http-proxy=false"]
    names = [spelt for name in PROXIES for spelt in (name.upper(), name)]
    given = {name.lower() for name in env}
    return [f"--env={name}=" for name in names if name.lower() not in given]


def limit_options(limits: Limits) -> list[str]:
    """Return the options for CPUs, memory (without swap beside it) and processes."""
    memory = []
    if limits.memory_bytes is not None:
        memory = [f"--memory={limits.memory_bytes}b", f"--memory-swap={limits.memory_bytes}b"]
    cpus = [] if limits.cpus is None else [f"--cpus={limits.cpus:.3f}"]
    return [*cpus, *memory, f"--pids-limit={limits.pids}"]


def mount(source: Path, target: str, is_readonly: bool) -> str:
    """Return a mount as the engines' CSV; a comma or a quote in the path is quoted."""
    fields = ["type=bind", f"source={source}", f"target={target}", *(["readonly"] if is_readonly else [])]
    return as_csv(fields)


def gpu_options(uuids: Sequence[str], *, is_podman: bool) -> list[str]:
    """Return the options that give exactly these GPUs: one of docker, for podman a device of CDI each.

    Docker reads its option as CSV again, so that several devices stand in quotes.
    """
    if not uuids:
        return []
    if is_podman:
        return [f"--device=nvidia.com/gpu={uuid}" for uuid in uuids]
    return ["--gpus=" + as_csv([f"device={','.join(uuids)}"], always=True)]


def as_csv(fields: Sequence[str], *, always: bool = False) -> str:
    """Return one line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="", quoting=csv.QUOTE_ALL if always else csv.QUOTE_MINIMAL).writerow(
        fields
    )
    return text.getvalue()
