"""Facts that the metadata of a cloud tell: ask the one that the firmware hints at, all at once, in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from worker.machine.cloud import (
    AWS,
    AWS_FACTS,
    AZURE,
    CLOUD_FACTS,
    GCE,
    GCE_FACTS,
    GCE_MODEL,
    GCE_PREEMPTIBLE,
    read_aws,
    read_azure,
    read_gce,
    text_of,
)
from worker.machine.dmi import hinted, read_dmi
from worker.machine.facts import Fact
from worker.machine.metadata import Answer, ask

__all__ = ["CLOUD", "cloud_facts"]

CLOUD = "MILLHAND_CLOUD"  # which metadata to ask, where a person knows it: gce, aws, azure, any or none
NAMED = {"gce": (GCE,), "aws": (AWS,), "azure": (AZURE,), "any": (GCE, AWS, AZURE), "none": ()}

GCE_HOST = "metadata.google.internal"
AWS_TOKEN_TTL_S = 60  # it is used at once
# The first version with all that is read. The whole of `instance` would hold the network too.
AZURE_PATH = "/metadata/instance/compute?api-version=2021-02-01&format=json"

Value = TypeVar("Value")


def cloud_facts(root: Path, environment: Mapping[str, str], *, limit_s: float) -> dict[str, Fact]:
    """Return machineType, instanceID, zone and preemptible, on GCE cpuPlatform too, within `limit_s`.

    No request is made where a person said `none`, nor where the firmware hints at no cloud that we know and
    nobody said which: an address that is somebody else's must not be asked on a guess.
    """
    chosen = environment.get(CLOUD, "").strip().lower()
    if chosen and chosen not in NAMED:
        return unknown(f"{CLOUD} is none of {', '.join(NAMED)}")
    dmi = read_dmi(root)
    clouds = NAMED[chosen] if chosen else hinted(dmi)
    if not clouds:
        return unknown(why_none(chosen, has_dmi=bool(dmi)))
    until_mono = time.monotonic() + limit_s
    return first_known(at_once(lambda cloud: ASK[cloud](until_mono), clouds))


def why_none(chosen: str, *, has_dmi: bool) -> str:
    """Say why no cloud is asked."""
    if chosen:
        return f"{CLOUD} is none"
    if has_dmi:
        return "the firmware (DMI) names no cloud that can be asked"
    return f"no firmware (DMI) tells the cloud here; where it is one, set {CLOUD} to gce, aws, azure or any"


def unknown(reason: str) -> dict[str, Fact]:
    """Return the facts without any value."""
    return dict.fromkeys(CLOUD_FACTS, Fact.unknown(reason))


def first_known(by_cloud: Mapping[str, dict[str, Fact]]) -> dict[str, Fact]:
    """Return the facts of the cloud that named the instance; where none did, why each of them did not."""
    known = [facts for facts in by_cloud.values() if facts["instanceID"].state == "measured"]
    if known:
        return known[0]
    if len(by_cloud) == 1:
        return next(iter(by_cloud.values()))
    reasons = dict.fromkeys(facts["instanceID"].reason for facts in by_cloud.values())
    return unknown(f"no cloud answered: {'; '.join(reasons)}")


def ask_gce(until_mono: float) -> dict[str, Fact]:
    """Ask Compute Engine, path by path: all of `instance` at once would hold keys and scripts."""
    headers = {"Metadata-Flavor": "Google"}
    base = "/computeMetadata/v1/instance/"

    def ask_path(path: str) -> Answer:
        return ask("GET", base + path, headers, until_mono=until_mono, host=GCE_HOST)

    return read_gce(at_once(ask_path, (*GCE_FACTS.values(), GCE_PREEMPTIBLE, GCE_MODEL)))


def ask_aws(until_mono: float) -> dict[str, Fact]:
    """Ask EC2 with a token (IMDSv2); without one nothing is asked.

    From a pod the answer of the token may never come: a hop limit of 1 ends at the node.
    """
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": str(AWS_TOKEN_TTL_S)}
    token, problem = text_of(AWS, "token", ask("PUT", "/latest/api/token", ttl, until_mono=until_mono))
    if problem or not token.isascii() or not token.isprintable() or not 0 < len(token) <= 1024:
        return unknown(problem or "AWS metadata answered something else than a token (token)")
    headers = {"X-aws-ec2-metadata-token": token}
    base = "/latest/meta-data/"

    def ask_path(path: str) -> Answer:
        return ask("GET", base + path, headers, until_mono=until_mono)

    return read_aws(at_once(ask_path, tuple(AWS_FACTS.values())))


def ask_azure(until_mono: float) -> dict[str, Fact]:
    """Ask Azure once; it allows few requests a second."""
    return read_azure(ask("GET", AZURE_PATH, {"Metadata": "true"}, until_mono=until_mono))


ASK: dict[str, Callable[[float], dict[str, Fact]]] = {GCE: ask_gce, AWS: ask_aws, AZURE: ask_azure}


def at_once(call: Callable[[str], Value], keys: Sequence[str]) -> dict[str, Value]:
    """Call for every key beside each other, so that one that hangs takes no time from the others."""
    with ThreadPoolExecutor(len(keys)) as pool:
        return dict(zip(keys, pool.map(call, keys), strict=True))
