"""The detection as it is, beside a metadata server on the clouds' own address in a network namespace."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.machine.enter import in_namespace

DEAD_PROXY = "http://127.0.0.1:9"  # nothing listens there
NAMES = ("machineType", "instanceID", "zone", "preemptible", "cpuPlatform")

Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Return what was found out in each case; all of them run in one program in one namespace."""
    # Proxies are set: whoever takes them from the environment reaches nothing.
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), DEAD_PROXY)
    folder = tmp_path_factory.mktemp("machines")
    found: Answers = json.loads(in_namespace("tests.unit.machine.namespace", str(folder), **proxies))
    return found


def values(answer: dict[str, Any]) -> list[Any]:
    """Return the values that clouds tell, in the order of `NAMES`."""
    return [answer["facts"][name]["value"] for name in NAMES]


def reason(answer: dict[str, Any], name: str) -> str:
    """Return why a fact is unknown, where it is."""
    fact = answer["facts"][name]
    assert (fact["state"], fact["value"]) == ("unknown", None)
    return str(fact["reason"])


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("gce", ["g2-standard-4", "6124890734412387123", "europe-west4-a", True, "Intel Cascade Lake"]),
        ("aws", ["g6.2xlarge", "i-0123456789abcdef0", "eu-central-1b", True, "CPU"]),
        (
            "azure",
            ["Standard_NC4as_T4_v3", "02aab8a4-74ef-476e-8182-f6d2ba4166a6", "westeurope-2", True, "CPU"],
        ),
    ],
)
def test_the_cloud_that_the_firmware_names_tells_the_facts(
    answers: Answers, case: str, expected: list[Any]
) -> None:
    """Past the proxies of the environment; no other cloud is asked, and the source is named."""
    assert values(answers[case]) == expected
    sources = {answers[case]["facts"][name]["source"] for name in NAMES[:4]}
    assert {source.lower() for source in sources} == {f"{case} metadata"}
    paths = {request.split()[1].split("/")[1] for request in answers[case]["requests"]}
    assert paths == {{"gce": "computeMetadata", "aws": "latest", "azure": "metadata"}[case]}
    assert not [request for request in answers[case]["requests"] if "refused" in request]


def test_the_command_tells_them_too(answers: Answers) -> None:
    """`millhand facts` asks the cloud that a person named, whatever this machine's firmware is."""
    assert answers["command"]["facts"]["zone"] == {
        "state": "measured", "value": "westeurope-2", "source": "Azure metadata",
    }  # fmt: skip


def test_what_gke_hides_from_pods_is_unknown(answers: Answers) -> None:
    """Id and zone are shown; the rest is the fallback's, and preemptible is not "no"."""
    facts = answers["gke"]["facts"]
    assert (facts["instanceID"]["source"], facts["zone"]["value"]) == ("GCE metadata", "europe-west4-a")
    assert facts["machineType"]["source"] == "/sys/class/dmi/id/product_name"
    assert facts["cpuPlatform"]["source"] == "/proc/cpuinfo"
    told = "GCE metadata answered 403 (scheduling/preemptible); set MILLHAND_PREEMPTIBLE"
    assert reason(answers["gke"], "preemptible") == told


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("404", "Azure metadata answered 404"),
        ("no token", "AWS metadata answered 404 (token)"),
        ("500", "GCE metadata answered 500"),
        ("html", "GCE metadata answered something else than a value"),
        ("no flavor", "GCE metadata answered without the header Metadata-Flavor: Google"),
        ("azure garbage", "Azure metadata answered something else than a value"),
        ("giant", "GCE metadata answered with more than 64 KiB"),
        ("raw", "GCE metadata answered something that is no HTTP"),
        ("redirect", "GCE metadata answered 302"),
    ],
)
def test_a_strange_answer_is_unknown_with_a_reason(answers: Answers, case: str, expected: str) -> None:
    """The cloud and what it did are named, what it sent is not; the fallbacks stay."""
    answer = answers[case]
    assert reason(answer, "preemptible").startswith(expected)
    assert reason(answer, "preemptible").endswith("; set MILLHAND_PREEMPTIBLE")
    assert reason(answer, "zone").startswith(expected)
    assert answer["facts"]["instanceID"]["source"] == "/etc/machine-id, hashed"
    assert "secret" not in json.dumps(answer["facts"])
    assert not [request for request in answer["requests"] if "elsewhere" in request]


@pytest.mark.parametrize("case", ["hang", "drip", "aws hang"])
def test_a_server_that_does_not_end_costs_its_limit_and_no_more(answers: Answers, case: str) -> None:
    """Neither silence nor a byte now and then: the bound is of the whole, far below that of a read each."""
    answer = answers[case]
    assert "in time" in reason(answer, "zone") or "within" in reason(answer, "zone")
    assert answer["facts"]["nodeRAM"]["state"] == "measured"
    assert answer["took_s"] < 30


@pytest.mark.parametrize(
    ("case", "expected"),
    [("hang", True), ("drip", True), ("500", True), ("gce", False), ("gke", False), ("404", False)],
)
def test_only_a_cloud_that_was_late_or_not_well_is_asked_again(
    answers: Answers, case: str, expected: bool
) -> None:
    """What it hides or refuses will not come."""
    assert answers[case]["may_tell_more"] is expected


def test_a_machine_of_nobodys_cloud_asks_nobody(answers: Answers) -> None:
    """Not one request; how to tell the facts is said."""
    assert answers["own machine"]["requests"] == []
    assert reason(answers["own machine"], "zone").endswith("; set MILLHAND_ZONE")


def test_without_dmi_nobody_is_asked_unless_a_person_says_so(answers: Answers) -> None:
    """The address may be anybody's; how to have it asked is said."""
    assert answers["no dmi"]["requests"] == []
    assert "set MILLHAND_CLOUD to gce, aws, azure or any" in reason(answers["no dmi"], "zone")


def test_of_any_cloud_the_one_that_names_the_instance_is_believed(answers: Answers) -> None:
    """A sandbox hides the firmware: all three are asked, and the others' refusals do not count."""
    assert values(answers["no dmi, on aws"])[:4] == values(answers["aws"])[:4]
    told = reason(answers["no dmi, no cloud"], "preemptible")
    assert all(f"{cloud} metadata answered 404" in told for cloud in ("GCE", "AWS", "Azure"))


def test_what_a_person_configured_wins(answers: Answers) -> None:
    """Zone and preemptible are theirs, the rest is the cloud's."""
    facts = answers["configured"]["facts"]
    assert facts["zone"] == {"state": "measured", "value": "rack-7", "source": "configuration: zone"}
    assert facts["preemptible"]["value"] is False
    assert facts["machineType"]["value"] == "g2-standard-4"
