"""Where a machine is and what it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.machine.recorded import record
from worker.machine.facts import Fact
from worker.machine.place import place_facts, with_cloud

MACHINE_ID = "0123456789abcdef0123456789abcdef"


def test_the_machine_id_never_leaves_the_machine(tmp_path: Path) -> None:
    """A hash stands for it, the same each time and another for another machine."""
    first = place_facts(record(tmp_path / "1", {"etc/machine-id": MACHINE_ID + "\n"}), hostname="h")
    again = place_facts(tmp_path / "1", hostname="h")
    other = place_facts(record(tmp_path / "2", {"etc/machine-id": "f" * 32 + "\n"}), hostname="h")
    assert first["instanceID"].value == again["instanceID"].value
    assert first["instanceID"].value != other["instanceID"].value
    assert MACHINE_ID not in str(first)


@pytest.mark.parametrize("text", ["", "uninitialized\n", "not hexadecimal\n"])
def test_a_machine_id_that_is_not_set_is_unknown(tmp_path: Path, text: str) -> None:
    """Images ship an empty file; all their copies would have the same instance."""
    fact = place_facts(record(tmp_path, {"etc/machine-id": text}), hostname="h")["instanceID"]
    assert fact.state == "unknown"


def test_the_firmware_names_the_machine(tmp_path: Path) -> None:
    """DMI's product name is the machine's type where no cloud tells."""
    fact = place_facts(record(tmp_path, {"sys/class/dmi/id/product_name": "PowerEdge R750\n"}), hostname="h")
    assert fact["machineType"].value == "PowerEdge R750"


@pytest.mark.parametrize("name", ["To Be Filled By O.E.M.\n", "System Product Name\n", "\n"])
def test_a_placeholder_of_the_firmware_is_no_name(tmp_path: Path, name: str) -> None:
    """What a maker forgot to fill in is unknown."""
    fact = place_facts(record(tmp_path, {"sys/class/dmi/id/product_name": name}), hostname="h")["machineType"]
    assert (fact.state, fact.value) == ("unknown", None)


def test_a_type_that_a_person_names_counts_more_than_firmware_and_cloud(tmp_path: Path) -> None:
    """In a pod the firmware says no more than whose machine it is, and the cloud may not be asked."""
    root = record(tmp_path, {"sys/class/dmi/id/product_name": "Google Compute Engine\n"})
    told = place_facts(root, hostname="h", kind="g2-standard-8")
    cloud = {"machineType": Fact.measured("e2-medium", "GCE metadata")}
    merged = with_cloud(told, cloud)["machineType"]
    assert (merged.value, merged.source) == ("g2-standard-8", "configuration: machine_type")
    assert with_cloud(place_facts(root, hostname="h"), cloud)["machineType"] == cloud["machineType"]


def test_zone_and_preemptible_are_configured_or_unknown(tmp_path: Path) -> None:
    """A question not asked is neither "no zone" nor "not preemptible"; a configured False is a fact."""
    asked = place_facts(tmp_path, hostname="h")
    told = place_facts(tmp_path, hostname="h", zone="eu-1a", preemptible=False)
    assert asked["preemptible"].state == "unknown"
    assert asked["zone"].reason == "set MILLHAND_ZONE"
    assert told["zone"].value == "eu-1a"
    assert (told["preemptible"].state, told["preemptible"].value) == ("measured", False)


def test_the_system_is_named_with_its_kernel(tmp_path: Path) -> None:
    """The distribution comes first, the kernel after it."""
    files = {"etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'}
    value = place_facts(record(tmp_path, files), hostname="h")["os"].value
    assert value.startswith("Debian GNU/Linux 12 (bookworm), ")
