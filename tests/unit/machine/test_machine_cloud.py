"""What the answers of clouds mean, and which cloud is asked."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.unit.machine.recorded import record
from worker.machine.cloud import (
    AWS_FACTS,
    GCE_FACTS,
    GCE_MODEL,
    GCE_PREEMPTIBLE,
    read_aws,
    read_azure,
    read_gce,
)
from worker.machine.dmi import hinted, read_dmi
from worker.machine.facts import Fact
from worker.machine.in_cloud import Clouds, Gce
from worker.machine.metadata import Answer
from worker.machine.place import with_cloud

NOTHING = Answer(status=404)
AZURE_TAG = "7783-7084-3265-9085-8269-3286-77"


def gce(preemptible: Answer, model: Answer = NOTHING) -> Fact:
    """Return whether a machine is preemptible by these two answers."""
    answers = {**dict.fromkeys(GCE_FACTS.values(), NOTHING), GCE_PREEMPTIBLE: preemptible, GCE_MODEL: model}
    return read_gce(answers)["preemptible"]


def google(body: bytes) -> Answer:
    """Return a good answer of Compute Engine."""
    return Answer(status=200, body=body, flavor="Google")


@pytest.mark.parametrize(
    ("preemptible", "model", "expected"),
    [
        (google(b"TRUE"), google(b"SPOT"), True),
        (google(b"TRUE"), google(b"STANDARD"), True),
        (google(b"FALSE"), google(b"SPOT"), True),
        (google(b"FALSE\n"), google(b"STANDARD"), False),
        (google(b"FALSE"), NOTHING, False),
        (Answer(status=403), google(b"SPOT"), True),
        (Answer(status=403), google(b"STANDARD"), None),
        (NOTHING, NOTHING, None),
        (google(b"false"), NOTHING, None),
        (google(b""), NOTHING, None),
        (google(b"\xff\xfe"), NOTHING, None),
        (Answer(status=200, body=b"FALSE"), NOTHING, None),
        (Answer(problem="did not answer in time"), NOTHING, None),
    ],
)
def test_gce_is_preemptible_only_by_its_own_words(
    preemptible: Answer, model: Answer, expected: bool | None
) -> None:
    """Spot and preemptible are; what is hidden, strange or unsigned is unknown, never "no"."""
    fact = gce(preemptible, model)
    assert fact.value is expected
    assert (fact.state == "unknown") == (expected is None)
    assert bool(fact.reason) == (expected is None)


@pytest.mark.parametrize(
    ("life_cycle", "expected"),
    [("spot", True), ("on-demand", False), ("scheduled", False), ("capacity-block", False), ("new", None)],
)
def test_aws_is_preemptible_by_its_life_cycle(life_cycle: str, expected: bool | None) -> None:
    """A word that is not known yet is unknown."""
    answers = {path: Answer(status=200, body=life_cycle.encode()) for path in AWS_FACTS.values()}
    assert read_aws(answers)["preemptible"].value is expected
    assert read_aws(answers)["instanceID"].state == "unknown"


def azure(**compute: object) -> dict[str, Fact]:
    """Return the facts of an answer."""
    return read_azure(Answer(status=200, body=json.dumps({"location": "westeurope", **compute}).encode()))


@pytest.mark.parametrize(
    ("priority", "expected"),
    [("Spot", True), ("Low", True), ("Regular", False), ("", None), (None, None), ("Other", None)],
)
def test_azure_is_preemptible_by_its_priority(priority: str | None, expected: bool | None) -> None:
    """An empty priority is not taken for Regular."""
    assert azure(priority=priority)["preemptible"].value is expected


def test_an_azure_machine_outside_of_the_zones_has_none() -> None:
    """Empty is absent with the region named; left out or strange is unknown."""
    assert (azure(zone="")["zone"].state, azure(zone="3")["zone"].value) == ("absent", "westeurope-3")
    assert azure(zone="")["zone"].source == "Azure metadata: in no zone of westeurope"
    assert {azure()["zone"].state, azure(zone="<b>")["zone"].state} == {"unknown"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"zone": 1}', b"<html>", b"[" * 60_000, b"\xff"])
def test_what_is_no_answer_of_azure_is_unknown(body: bytes) -> None:
    """Every fact, and no byte of it is repeated."""
    facts = read_azure(Answer(status=200, body=body))
    assert {fact.state for fact in facts.values()} == {"unknown"}


@pytest.mark.parametrize(
    ("dmi", "expected"),
    [
        ({"sys_vendor": "Google", "product_name": "Google Compute Engine"}, ("GCE",)),
        ({"sys_vendor": "Google", "product_name": "Eve", "bios_vendor": "coreboot"}, ()),
        ({"sys_vendor": "Amazon EC2", "product_name": "m7g.metal"}, ("AWS",)),
        ({"sys_vendor": "Xen", "product_name": "HVM domU", "bios_version": "4.11.amazon"}, ("AWS",)),
        ({"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": AZURE_TAG}, ("Azure",)),
        ({"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, ()),
        ({"sys_vendor": "OpenStack Foundation", "product_name": "OpenStack Nova"}, ()),
        ({"sys_vendor": ""}, ()),
        ({}, ()),
    ],
)
def test_the_firmware_says_whom_to_ask(
    tmp_path: Path, dmi: dict[str, str], expected: tuple[str, ...]
) -> None:
    """Laptops of a cloud's maker and other hypervisors are none; where nothing is to be read, nobody is."""
    root = record(tmp_path, {f"sys/class/dmi/id/{name}": f"{value}\n" for name, value in dmi.items()})
    assert hinted(read_dmi(root)) == expected


def test_a_person_can_forbid_every_request(tmp_path: Path) -> None:
    """Whatever the firmware is; and there is nothing to wait for."""
    record(tmp_path, {"sys/class/dmi/id/product_name": "Google Compute Engine\n"})
    clouds = Clouds(tmp_path, "none", {})
    facts = asyncio.run(clouds.ask(60))
    assert {fact.state for fact in facts.values()} == {"unknown"}
    assert facts["zone"].reason.startswith("MILLHAND_CLOUD is none")
    assert not clouds.may_tell_more


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", ("169.254.169.254", 80)),
        ("metadata.google.internal", ("metadata.google.internal", 80)),
        (" 127.0.0.1:8080 ", ("127.0.0.1", 8080)),
        ("[fd20:ce::254]", ("fd20:ce::254", 80)),
    ],
)
def test_where_gce_answers_can_be_told_as_its_own_libraries_are(given: str, address: tuple[str, int]) -> None:
    """By GCE_METADATA_HOST, with a port or without."""
    assert Gce.of({"GCE_METADATA_HOST": given}) == Gce(address)


@pytest.mark.parametrize("given", [":80", "host:", "host:http", "host:0", "host:99999"])
def test_a_host_that_is_none_is_told_and_nobody_is_asked(tmp_path: Path, given: str) -> None:
    """The variable is named."""
    facts = asyncio.run(Clouds(tmp_path, "gce", {"GCE_METADATA_HOST": given}).ask(60))
    assert "was not asked: GCE_METADATA_HOST is no HOST or HOST:PORT" in facts["zone"].reason


def test_a_cloud_that_knows_nothing_takes_nothing_away() -> None:
    """A measured fallback stays; two unknowns give both reasons."""
    own = {"machineType": Fact.measured("X", "DMI"), "zone": Fact.unknown("set MILLHAND_ZONE")}
    cloud = dict.fromkeys(own, Fact.unknown("AWS metadata answered 500 (token)"))
    merged = with_cloud(own, cloud)
    assert merged["machineType"] == own["machineType"]
    assert merged["zone"].reason == "AWS metadata answered 500 (token); set MILLHAND_ZONE"


def test_the_time_was_up_before_it_began(tmp_path: Path) -> None:
    """Then no connection is opened, and the reason is the time."""
    began_mono = time.monotonic()
    clouds = Clouds(tmp_path, "azure", {})
    facts = asyncio.run(clouds.ask(-1))
    assert facts["zone"].reason == "Azure metadata did not answer in time (instance/compute)"
    assert clouds.may_tell_more
    assert time.monotonic() - began_mono < 30
