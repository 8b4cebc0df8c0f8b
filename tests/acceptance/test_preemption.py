"""Real agents on GCE, AWS and Azure whose machines are taken away, with the real server.

The clouds' metadata answer at their own address, in a network namespace; what reads them is unmodified.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.machine.enter import in_namespace

CLOUDS = ("gce", "aws", "azure")
ZONES = {"gce": "europe-west4-a", "aws": "eu-central-1b", "azure": "westeurope-2"}
NOTICE_S = {"gce": 30.0, "aws": 120.0, "azure": 30.0}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what was seen on each cloud."""
    folder = tmp_path_factory.mktemp("clouds")
    found: dict[str, Any] = json.loads(in_namespace("tests.acceptance.preempted", str(folder)))
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_facts_that_a_cloud_gives_late_follow_in_the_run_that_goes_on(
    seen: dict[str, Any], cloud: str
) -> None:
    """The claim did not wait for them; fields and sources are those of the cloud in the end."""
    one = seen[cloud]
    assert (one["claimed"]["zone"], one["claimed"]["preemptible"]) == (None, None)
    assert (one["zone"], one["preemptible"]) == (ZONES[cloud], True)
    assert one["source"].lower() == f"{cloud} metadata"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_run_whose_machine_is_taken_is_preempted_and_goes_on_elsewhere(
    seen: dict[str, Any], cloud: str
) -> None:
    """From its checkpoint, on another agent. Its handler saw why, and no more time than the cloud gives."""
    one = seen[cloud]
    assert one["code"] == 0, one["log"]
    first, second = one["runs"]
    assert first["error"].startswith("preempted: "), first
    assert first["results"]["error"]["kind"] == "preempted"
    saved = first["results"]["checkpoint"]
    assert saved["why"] == "preempted"
    assert 0 < saved["left_s"] < NOTICE_S[cloud]
    assert (second["resultCode"], second["results"]["resume"]) == ("Success", saved)
    assert first["podId"] != second["podId"] or one["kept"]
    assert all(one["kept"])  # a machine that was too busy keeps its report on the disk; nothing is lost


def test_nothing_is_left_running_on_the_machines(seen: dict[str, Any]) -> None:
    """No process of any run outlives its agent."""
    assert seen["left"] == 0
