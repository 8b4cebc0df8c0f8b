"""State directories of earlier releases: the present agent delivers what they hold; newer ones it refuses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.store.commands import CreateJob, CreateRun, CreateTask, RunFields
from server.testing import RunningServer, running_server
from server.times import to_ms
from tests.acceptance.agents import STOP_S, running_agent, start_agent
from tests.released.state import (
    AGENT_ID,
    ENDED,
    FENCED,
    FILE_TEXT,
    FILED,
    GOING,
    POD,
    RESULTS,
    STARTED,
)
from tests.unit.reporting.samples import newer_segment
from worker.api.wire import parse_instant
from worker.cli.exits import ExitCode
from worker.machine.identity import load_agent_id, machine_fingerprint
from worker.reporting.onlook import look

FOLDER = Path(__file__).parent
STATES = sorted(path.name for path in FOLDER.glob("state-*"))
LIMIT_S = 60.0  # a bound for a hang, not a measure


def copied(name: str, folder: Path) -> Path:
    """Return a copy that is this machine's: an agent gives a directory from elsewhere another identity."""
    state = folder / "state"
    shutil.copytree(FOLDER / name, state)
    assert load_agent_id(state, lambda: AGENT_ID, machine_fingerprint()) == AGENT_ID
    return state


def fill(server: RunningServer) -> None:
    """Make the runs that the agent had claimed, as its server knows them."""
    started = parse_instant(STARTED)
    assert started is not None

    async def commands() -> None:
        store, org = server.app.store, server.org_id
        await store.apply(CreateJob(org_id=org, created_by="me", id="job-1", type="released"))
        for run_id in (ENDED, FENCED, GOING, FILED):
            task_id = f"task-{run_id[0]}"
            await store.apply(
                CreateTask(org_id=org, created_by="me", job_id="job-1", id=task_id, parameters="{}", extra={})
            )
            claim = RunFields(started_at=to_ms(started), pod_id=f"{POD}/{AGENT_ID}", machine="{}")
            await store.apply(
                CreateRun(
                    org_id=org, created_by="me", task_id=task_id, id=run_id, lease_ms=600_000, fields=claim
                )
            )

    server.call(commands())


def until(is_so: Callable[[], Any]) -> Any:
    """Return what is so, once it is."""
    end_mono = time.monotonic() + LIMIT_S
    while not (found := is_so()):
        assert time.monotonic() < end_mono, "it never came"
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("name", STATES)
def test_what_an_earlier_release_left_is_delivered(name: str, tmp_path: Path) -> None:
    """Outcomes arrive with their results and files, what was going is run again, a person's is kept."""
    state = copied(name, tmp_path / "agent")
    settings = {"MILLHAND_POD_UID": POD, "MILLHAND_TYPES": "noop"}
    with running_server() as server:
        fill(server)
        headers = {"Authorization": f"Bearer {server.token}"}
        with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=LIMIT_S) as client:

            def run(run_id: str) -> dict[str, Any]:
                return dict(client.get(f"/api/jobs/runs/{run_id}").raise_for_status().json())

            with running_agent(tmp_path / "agent", server.url, server.token, slots=1, settings=settings):
                until(lambda: list(look(state / "journal").entries) == [FENCED])
                ended = run(ENDED)
                assert (ended["resultCode"], ended["stoppedAt"]) == ("Success", "2026-01-02T03:05:06.000Z")
                assert ended["results"].items() >= RESULTS.items()
                lost = run(GOING)
                assert (lost["resultCode"], lost["error"].partition(":")[0]) == ("Failed", "worker_lost")
                assert lost["wallClockTime"] == 12.5
                pending = client.get("/api/jobs/tasks", params={"runStatus": "pending"}).json()["tasks"]
                assert [task["id"] for task in pending] == [f"task-{GOING[0]}"]
                assert run(FENCED)["stoppedAt"] is None  # nothing is written to what is somebody else's
                if (FOLDER / name / "spool").exists():
                    (file,) = run(FILED)["results"]["files"]
                    assert file["name"] == "made.txt"
                    (stored,) = (state / "artifacts").rglob("made.txt")
                    assert stored.read_text() == FILE_TEXT


@pytest.mark.parametrize("how", ["form", "version", "kind"])
def test_a_journal_of_a_newer_release_is_refused_and_left_as_it_is(how: str, tmp_path: Path) -> None:
    """An agent that went on would lose what it cannot read: it ends, says what to do, and changes nothing."""
    state = copied("state-0.1.0", tmp_path / "agent")
    (state / "journal/00000002.seg").write_bytes(newer_segment(how))
    before = {path.name: path.read_bytes() for path in (state / "journal").iterdir()}
    agent = start_agent(tmp_path / "agent", "http://127.0.0.1:9", "token", slots=1)
    try:
        assert agent.wait(STOP_S) == ExitCode.CONFIGURATION
    finally:
        if agent.poll() is None:
            os.killpg(agent.pid, signal.SIGKILL)
            agent.wait(STOP_S)
    said = (tmp_path / "agent/agent.log").read_text()
    assert "the journal is of a newer millhand: 00000002.seg" in said
    assert "Install that version again" in said
    for verb in (["list"], ["drop", ENDED[:8], "--yes"]):
        ran = subprocess.run(
            [sys.executable, "-P", "-m", "worker.cli.main", "journal", *verb, "--state-dir", str(state)],
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert (ran.returncode, "newer millhand" in ran.stderr) == (ExitCode.CONFIGURATION, True)
    assert {path.name: path.read_bytes() for path in (state / "journal").iterdir()} == before
