"""What a pod is told of itself."""

from __future__ import annotations

import pytest

from worker.machine.kubernetes import kubernetes_facts, parse_quantity

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MILLHAND_REQUEST_CPU_MILLICORES": "1500"}, 1.5),
        ({"MILLHAND_REQUEST_CPU": "1500m"}, 1.5),
        ({"MILLHAND_REQUEST_CPU": "0.25"}, 0.25),
        ({"MILLHAND_REQUEST_CPU": "2"}, 2.0),
    ],
)
def test_requested_cpus_come_in_cores_or_millicores(environment: dict[str, str], expected: float) -> None:
    """Each spelling gives vCPUs, fractional."""
    fact = kubernetes_facts(IN_A_POD | environment, hostname="h")["requestCPUs"]
    assert (fact.value, fact.source) == (expected, next(iter(environment)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2147483648", 2147483648),
        ("2Gi", 2 * 1024**3),
        ("1.5Gi", 3 * 1024**3 // 2),
        ("500M", 500_000_000),
        ("128974848", 128974848),
        ("1e9", 10**9),
    ],
)
def test_requested_memory_is_a_quantity(text: str, expected: int) -> None:
    """Bytes, binary and decimal units, as Kubernetes writes them."""
    fact = kubernetes_facts(IN_A_POD | {"MILLHAND_REQUEST_MEMORY": text}, hostname="h")["requestRAM"]
    assert fact.value == expected
    assert isinstance(fact.value, int)


@pytest.mark.parametrize("text", ["much", "-1", "1.5GB", "nan", "1 Gi", "0x10"])
def test_what_is_no_quantity_is_unknown(text: str) -> None:
    """A mistyped manifest is named, not guessed at."""
    assert parse_quantity(text) is None
    fact = kubernetes_facts({"MILLHAND_REQUEST_MEMORY": text}, hostname="h")["requestRAM"]
    assert fact.state == "unknown"
    assert "MILLHAND_REQUEST_MEMORY" in fact.reason


def test_a_request_of_zero_is_none() -> None:
    """The downward API says 0 where the pod asks for nothing."""
    fact = kubernetes_facts(IN_A_POD | {"MILLHAND_REQUEST_CPU_MILLICORES": "0"}, hostname="h")["requestCPUs"]
    assert fact.state == "absent"


def test_a_pod_that_was_told_nothing_says_how_to_tell_it() -> None:
    """In a pod the request exists, we only do not know it."""
    facts = kubernetes_facts(IN_A_POD, hostname="h")
    assert facts["requestCPUs"].state == "unknown"
    assert "MILLHAND_REQUEST_CPU_MILLICORES" in facts["requestCPUs"].reason


def test_outside_of_a_pod_nothing_is_requested() -> None:
    """No pod, no request; and the pod id is the host's name."""
    facts = kubernetes_facts({}, hostname="render-7")
    assert facts["requestRAM"].state == "absent"
    assert facts["podId"].value == "render-7"


def test_the_pods_uid_is_the_pod_id() -> None:
    """The uid wins over the name, which a StatefulSet uses again."""
    fact = kubernetes_facts({"MILLHAND_POD_UID": "7d9f-uid"}, hostname="render-7")["podId"]
    assert (fact.value, fact.source) == ("7d9f-uid", "MILLHAND_POD_UID")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("render 7%", "render 7%"), ("büro", "b%C3%BCro"), ("a\nb", "a%0Ab"), ("a\udcff", "a%FF")],
)
def test_a_pod_id_is_what_a_header_can_carry(name: str, shown: str) -> None:
    """Our server compares it with that of the claim: read as another text, every report would be refused."""
    assert kubernetes_facts({}, hostname=name)["podId"].value == shown
    assert kubernetes_facts({"MILLHAND_POD_UID": name}, hostname="h")["podId"].value == shown


def test_what_a_person_configured_wins() -> None:
    """A configured request is taken as it is."""
    facts = kubernetes_facts(
        {"MILLHAND_REQUEST_CPU": "4"}, hostname="h", request_cpus=0.5, request_ram_bytes=1 << 30
    )
    assert facts["requestCPUs"].value == 0.5
    assert facts["requestRAM"].value == 1 << 30
    assert facts["requestRAM"].source.startswith("configuration")
