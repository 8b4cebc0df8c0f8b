"""The page of the machines, as a browser without script sees it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.dashboard import Site, announce

LATER = "2026-01-01T00:00:09.000Z"


def test_machines_are_shown_with_what_runs_there(here: Site) -> None:
    """By the agents that told who they are."""
    run = here.run(
        here.task(here.job()), podId="gpu-7/abc", gpuType="NVIDIA L4", zone="z-1", preemptible=True
    )
    page = here.browser().look("/ui/machines")
    assert "gpu-7/abc spot" in page.text
    assert f"/ui/runs/{run['id']}" in page.links
    here.report(run, stoppedAt=LATER, resultCode="Success")
    page = here.browser().look("/ui/machines")
    assert f"/ui/runs/{run['id']}" not in page.links
    assert "nothing runs" in page.text.partition("gpu-7/abc")[2]


def test_idle_machines_are_seen_too_with_why_they_take_nothing(here: Site) -> None:
    """By what their agents say; those that go are forgotten."""
    gpus = [{"name": "NVIDIA H200", "condition": "quarantined", "reason": "three tasks failed on it"}]
    holds = [{"by": "disk", "reason": "1 GB is free"}, {"by": "slots", "reason": "all are busy"}]
    status = {"podId": "idle-1/a1", "slots": {"total": 4}, "gpus": gpus, "holds": holds, "version": "9.9"}
    announce(here, "a1", status=status, machine={"zone": "z-9"}, handlers={"render": {}})
    text = here.browser().look("/ui/machines").text
    for shown in (
        "idle-1/a1",
        "millhand 9.9",
        "free free free free",
        "Takes nothing: 1 GB is free",
        "z-9",
        "three tasks failed",
    ):
        assert shown in text, shown
    assert "all are busy" not in text
    announce(here, "a1", isGone=True)
    assert "idle-1/a1" not in here.browser().look("/ui/machines").text


@pytest.mark.parametrize(
    "said", [{}, {"status": {"slots": 3, "gpus": {}, "holds": [1]}, "handlers": {"x": 4}}]
)
def test_agents_may_say_anything(here: Site, said: dict[str, Any]) -> None:
    """Other versions have other words."""
    announce(here, "odd", **said)
    for path in ("machines", "handlers"):
        here.browser().look(f"/ui/{path}")
    announce(here, "odd", isGone=True)
