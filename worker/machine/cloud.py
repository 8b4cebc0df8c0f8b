"""Read what the metadata of GCE, AWS and Azure say of a machine. Pure: answers in, facts out.

What a cloud hides, garbles or does not say is unknown with the reason; never "not preemptible". No reason
holds a body: metadata may hold secrets.

Sources:
    GCE: https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys
    GKE: https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity
    AWS: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
    Azure: https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from worker.machine.facts import Fact
from worker.machine.metadata import Answer

__all__ = [
    "AWS",
    "AWS_FACTS",
    "AZURE",
    "CLOUD_FACTS",
    "GCE",
    "GCE_FACTS",
    "GCE_MODEL",
    "GCE_PREEMPTIBLE",
    "flavored",
    "read_aws",
    "read_azure",
    "read_gce",
    "strange",
    "text_of",
]

GCE, AWS, AZURE = "GCE", "AWS", "Azure"
CLOUD_FACTS = ("machineType", "instanceID", "zone", "preemptible")  # cpuPlatform is told by GCE only

# The paths below /computeMetadata/v1/instance/, of GCE.
GCE_FACTS = {"machineType": "machine-type", "instanceID": "id", "zone": "zone", "cpuPlatform": "cpu-platform"}
GCE_PREEMPTIBLE = "scheduling/preemptible"  # TRUE or FALSE
GCE_MODEL = "scheduling/provisioning-model"  # SPOT, STANDARD, …; not on every machine
# The paths below /latest/meta-data/, of AWS.
AWS_FACTS = {
    "machineType": "instance-type",
    "instanceID": "instance-id",
    "zone": "placement/availability-zone",
    "preemptible": "instance-life-cycle",
}
AWS_LIFE_CYCLES = {"spot": True, "on-demand": False, "scheduled": False, "capacity-block": False}
AZURE_PRIORITIES = {"spot": True, "low": True, "regular": False}  # Low: what Spot was called before

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
GCE_PATTERNS = {
    "machineType": re.compile(rf"(?:projects/[^/]+/machineTypes/)?({WORD.pattern})"),
    "instanceID": re.compile(r"([0-9]{1,20})"),  # 64 bits: text, since JSON's numbers would lose digits
    "zone": re.compile(r"(?:projects/[^/]+/zones/)?([a-z]+(?:-[a-z0-9]+)+)"),
    "cpuPlatform": re.compile(r"([A-Za-z0-9][A-Za-z0-9 ().@_+-]{0,99})"),
}
AWS_PATTERNS = {
    "machineType": re.compile(r"([a-z0-9-]+\.[a-z0-9-]+)"),
    "instanceID": re.compile(r"(i-[0-9a-f]{8,32})"),
    "zone": re.compile(r"([a-z]+(?:-[a-z0-9]+)+)"),
}


class AzureCompute(Struct, frozen=True, rename="camel"):
    """The part of Azure's answer that is looked at; what it leaves out is None."""

    vm_id: str | None = None
    vm_size: str | None = None
    location: str | None = None
    zone: str | None = None
    priority: str | None = None


def read_gce(answers: Mapping[str, Answer]) -> dict[str, Fact]:
    """Return the facts from the answers by path; the last part of a zone's or type's path is its name.

    GKE with workload identity shows a pod the id and the zone and hides the rest: that is unknown.
    """
    facts = {
        name: matched(GCE, path, flavored(answers[path]), GCE_PATTERNS[name])
        for name, path in GCE_FACTS.items()
    }
    return {**facts, "preemptible": gce_preemptible(answers)}


def gce_preemptible(answers: Mapping[str, Answer]) -> Fact:
    """Return whether Compute Engine may take the machine; Spot is one way of it, older VMs know another.

    A model other than SPOT proves nothing: preemptible machines of the older kind are STANDARD.
    """
    text, problem = text_of(GCE, GCE_PREEMPTIBLE, flavored(answers[GCE_PREEMPTIBLE]))
    model, _ = text_of(GCE, GCE_MODEL, flavored(answers[GCE_MODEL]))
    if model == "SPOT" or text == "TRUE":
        return Fact.measured(True, source(GCE))
    if text == "FALSE":
        return Fact.measured(False, source(GCE))
    return Fact.unknown(problem or strange(GCE, GCE_PREEMPTIBLE))


def flavored(answer: Answer) -> Answer:
    """Refuse what does not say that it is Compute Engine: a proxy or another cloud may answer there."""
    if answer.status == 200 and answer.flavor != "Google":
        return Answer(problem="answered without the header Metadata-Flavor: Google")
    return answer


def read_aws(answers: Mapping[str, Answer]) -> dict[str, Fact]:
    """Return the facts from the answers by path."""
    facts = {
        name: matched(AWS, AWS_FACTS[name], answers[AWS_FACTS[name]], pattern)
        for name, pattern in AWS_PATTERNS.items()
    }
    path = AWS_FACTS["preemptible"]
    text, problem = text_of(AWS, path, answers[path])
    if text in AWS_LIFE_CYCLES:
        return {**facts, "preemptible": Fact.measured(AWS_LIFE_CYCLES[text], source(AWS))}
    return {**facts, "preemptible": Fact.unknown(problem or strange(AWS, path))}


def read_azure(answer: Answer) -> dict[str, Fact]:
    """Return the facts from `compute` of the instance.

    The zone is written as Kubernetes does on Azure: `westeurope-1`, since "1" alone names none.
    """
    text, problem = text_of(AZURE, "instance/compute", answer)
    try:
        compute = msgspec.json.decode(text, type=AzureCompute) if not problem else AzureCompute()
    except (msgspec.DecodeError, RecursionError):
        compute, problem = AzureCompute(), strange(AZURE, "instance/compute")
    if problem:
        return dict.fromkeys(CLOUD_FACTS, Fact.unknown(problem))
    return {
        "machineType": azure_word("vmSize", compute.vm_size),
        "instanceID": azure_word("vmId", compute.vm_id),
        "zone": azure_zone(compute),
        "preemptible": azure_preemptible(compute.priority),
    }


def azure_zone(compute: AzureCompute) -> Fact:
    """Return the zone; machines outside of the zones of a region have an empty one: there is none."""
    location, zone = azure_word("location", compute.location), compute.zone
    if location.state == "unknown":
        return location
    if zone == "":
        return Fact.absent(f"{source(AZURE)}: in no zone of {location.value}")
    if zone is None or not zone.isdecimal() or len(zone) > 3:
        return Fact.unknown(strange(AZURE, "zone"))
    return Fact.measured(f"{location.value}-{zone}", source(AZURE))


def azure_preemptible(priority: str | None) -> Fact:
    """Return whether it is a Spot machine; an empty priority says nothing, and is not taken for Regular."""
    known = AZURE_PRIORITIES.get((priority or "").lower())
    if known is None:
        return Fact.unknown(strange(AZURE, "priority") if priority else "Azure metadata names no priority")
    return Fact.measured(known, source(AZURE))


def azure_word(name: str, value: str | None) -> Fact:
    """Return a value that is one word."""
    if value is None or not WORD.fullmatch(value):
        return Fact.unknown(strange(AZURE, name))
    return Fact.measured(value, source(AZURE))


def matched(cloud: str, path: str, answer: Answer, pattern: re.Pattern[str]) -> Fact:
    """Return what the pattern finds in an answer that it fits as a whole."""
    text, problem = text_of(cloud, path, answer)
    match = pattern.fullmatch(text)
    if problem or match is None:
        return Fact.unknown(problem or strange(cloud, path))
    return Fact.measured(match[1], source(cloud))


def text_of(cloud: str, path: str, answer: Answer) -> tuple[str, str]:
    """Return the text of an answer, and the problem in words where there is one."""
    if answer.problem:
        return "", f"{source(cloud)} {answer.problem} ({path})"
    if answer.status != 200:
        return "", f"{source(cloud)} answered {answer.status} ({path})"
    return answer.body.decode("utf-8", "replace").strip(), ""


def source(cloud: str) -> str:
    """Return how a cloud's metadata is called as a source."""
    return f"{cloud} metadata"


def strange(cloud: str, path: str) -> str:
    """Return the reason where an answer is none to its question."""
    return f"{source(cloud)} answered something else than a value ({path})"
