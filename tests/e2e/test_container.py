"""Containers of the image as it is shipped, run as deploy/README.md says: `make e2e-container`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.yard import IMAGE, Yard


def test_server_and_agent_of_one_image_do_a_task(yard: Yard) -> None:
    """Read-only, without capabilities, as a user without rights."""
    (run,) = yard.submit("who")
    assert run["resultCode"] == "Success", run
    assert {name: run["results"][name] for name in ("uid", "root", "etc")} == {
        "uid": 10001,
        "root": False,
        "etc": False,
    }


def test_a_run_tells_the_limits_of_its_container(yard: Yard) -> None:
    """Not those of the machine; a limit of one and a half cores is not rounded."""
    (run,) = yard.submit("noop")
    assert (run["limitCPUs"], run["limitRAM"]) == (1.5, 512 << 20)


def test_what_eats_the_memory_ends_alone(yard: Yard) -> None:
    """The agent lives on, and does the next task."""
    (eaten,) = yard.submit("eat")
    assert eaten["results"]["error"]["kind"] == "out_of_memory", eaten["error"]
    assert [run["resultCode"] for run in yard.submit("noop")] == ["Success"]
    assert yard.docker("inspect", "--format={{.State.Status}} {{.RestartCount}}", "agent") == "running 0"


def test_orphans_leave_nothing(yard: Yard) -> None:
    """The init reaps what nobody else does."""
    for _ in range(5):
        yard.docker("exec", "agent", "sh", "-c", "(sh -c true &) &")
        assert [run["resultCode"] for run in yard.submit("orphan")] == ["Success"]
    script = "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | grep -c ^Z"
    yard.wait(lambda: yard.docker("exec", "agent", "sh", "-c", script, code=None) == "0", "no zombie")


def test_the_token_is_a_file_that_may_change(yard: Yard) -> None:
    """The agent reads it again and is not restarted; its environment holds none."""
    assert (yard.folder / "token").read_text() not in yard.docker("exec", "agent", "env")
    made = yard.millhand("token", "create", "--scope", "work", "--name", "second")
    (yard.folder / "agent-token").write_text(str(made["token"]))

    def is_used() -> bool:
        known = {one["name"]: one for one in yard.millhand("token", "list")["tokens"]}
        return known["second"]["lastUsedAt"] is not None

    yard.wait(is_used, "the use of the new token")
    assert [run["resultCode"] for run in yard.submit("noop")] == ["Success"]
    assert yard.docker("inspect", "--format={{.RestartCount}}", "agent") == "0"


@pytest.mark.parametrize("name", ["agent", "server"])
def test_its_health_is_told(yard: Yard, name: str) -> None:
    """Healthy; unhealthy with the reason while its loop stands still; then healthy again. No shell is run."""
    check = json.loads(yard.docker("inspect", "--format={{json .Config.Healthcheck.Test}}", IMAGE))
    assert check == ["CMD", "millhand", "health"]

    def health() -> dict[str, Any]:
        told: dict[str, Any] = json.loads(yard.docker("inspect", "--format={{json .State.Health}}", name))
        return told

    def stands(status: str) -> bool:
        return bool(health()["Status"] == status)

    yard.wait(lambda: stands("healthy"), "a healthy container")
    yard.signal(name, "STOP")
    try:
        yard.wait(lambda: stands("unhealthy"), "an unhealthy container")
        assert any("unhealthy: the " in look["Output"] for look in health()["Log"])
    finally:
        yard.signal(name, "CONT")
    yard.wait(lambda: stands("healthy"), "a container that is healthy again")


def test_a_stop_drains(yard: Yard) -> None:
    """SIGTERM within the stop time-out: exit code 0, the run given back; the next start finishes it."""
    task = yard.begin("waits")
    yard.docker("stop", "agent")
    assert yard.docker("inspect", "--format={{.State.ExitCode}}", "agent") == "0"
    stopped = [run for run in yard.runs(task) if run["stoppedAt"]]
    assert [run["error"].partition(":")[0] for run in stopped] == ["drained"]
    yard.docker("start", "agent")
    yard.finish(task)


def test_a_killed_container_loses_nothing(yard: Yard) -> None:
    """Started again with the same volume it closes the run that it had, and does the task."""
    task = yard.begin("waits")
    yard.docker("kill", "agent")
    yard.docker("start", "agent")
    yard.finish(task)
    assert "worker_lost" in {(run["error"] or "").partition(":")[0] for run in yard.runs(task)}
