"""`millhand journal retry` asks the server before it lets an outcome go out again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.foreign import ForeignServer, foreign_server
from tests.unit.cli.conftest import Cli, cli, own_home, own_logs
from worker.api.connect import open_api
from worker.cli.exits import ExitCode
from worker.config import ApiConfig
from worker.reporting.disk import DiskIO
from worker.reporting.journal import Journal
from worker.reporting.onlook import look
from worker.reporting.records import Entry

__all__ = ["cli", "own_home", "own_logs"]  # fixtures

STARTED = "2026-01-02T03:04:05.678Z"
REPORT = {
    "startedAt": STARTED, "stoppedAt": "2026-01-02T03:05:00.000Z", "resultCode": "Success",
    "results": {"n": 1},
}  # fmt: skip
OURS, TAKEN, GONE, SENT = "aaaa1111", "bbbb2222", "cccc3333", "dddd4444"
MARKS = {OURS: "refused", TAKEN: "fenced", GONE: "fenced", SENT: "elected"}


async def left(state: Path, tasks: dict[str, str]) -> None:
    """Leave the journal of an agent with an outcome for each run."""
    journal = await Journal.open(DiskIO(state / "journal"))
    for run_id, mark in MARKS.items():
        task = tasks.get(run_id, "gone")
        await journal.intent(Entry(run_id=run_id, task_id=task, pod_id="pod/me", started_at=STARTED))
        await journal.terminal(run_id, REPORT)
        await journal.mark(run_id, mark)
    await journal.aclose()


async def started(server: ForeignServer, tasks: dict[str, str]) -> None:
    """Start the runs on the server: two of ours, and one that is another agent's."""
    async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
        for run_id, task in tasks.items():
            pod_id = "pod/other" if run_id == TAKEN else "pod/me"
            await api.create_run({"id": run_id, "taskId": task, "podId": pod_id, "startedAt": STARTED})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give the state folder."""
    return tmp_path / "state"


@pytest.fixture
def server(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForeignServer]:
    """Serve somebody else's API, with the runs of the journal, and the command line set to both."""
    with foreign_server() as running:
        tasks = {run_id: running.add_task("render") for run_id in (OURS, TAKEN, SENT)}
        asyncio.run(started(running, tasks))
        asyncio.run(left(state, tasks))
        for name, value in (("API_URL", running.url), ("TOKEN", running.token), ("STATE_DIR", str(state))):
            monkeypatch.setenv(f"MILLHAND_{name}", value)
        yield running


def marks(state: Path) -> dict[str, tuple[str, ...]]:
    """Return the marks of all entries."""
    return {run_id: entry.marks for run_id, entry in look(state / "journal").entries.items()}


def test_only_what_is_still_ours_is_sent_again(server: ForeignServer, state: Path, cli: Cli) -> None:
    """The rest says why not and what can be done; nothing is written to the server."""
    before = server.runs
    ran = cli("journal", "retry", "--all")
    assert ran.code == ExitCode.REFUSED
    told = {one["run"]: one for one in json.loads(ran.out)["runs"]}
    assert {run_id: one["retried"] for run_id, one in told.items()} == {OURS: True, TAKEN: False, GONE: False}
    assert "another's (pod/other)" in told[TAKEN]["why"]
    assert "no such run" in told[GONE]["why"]
    assert marks(state) == {OURS: (), TAKEN: ("fenced",), GONE: ("fenced",), SENT: ("elected",)}
    assert server.runs == before
    text = cli("journal", "retry", TAKEN, "--no-json")
    assert "millhand journal export" in text.err


def test_what_is_on_its_way_needs_nobody(server: ForeignServer, state: Path, cli: Cli) -> None:
    """Its next agent sends it by itself."""
    ran = cli("journal", "retry", SENT, "--no-json")
    assert (ran.code, "by itself" in ran.err) == (ExitCode.REFUSED, True)
    assert marks(state)[SENT] == ("elected",)


def test_no_mark_goes_where_only_a_proxy_answers(server: ForeignServer, state: Path, cli: Cli) -> None:
    """Its 404 says nothing of the run, and a server that is down says nothing at all."""
    server.fail_next(404, count=1, method="GET", path="/runs/")
    assert cli("journal", "retry", OURS).code == ExitCode.REFUSED
    server.fail_next(503, count=100, method="GET", path="/runs/")
    assert cli("journal", "retry", OURS).code == ExitCode.UNREACHABLE
    assert marks(state)[OURS] == ("refused",)


def test_which_runs_must_be_told(server: ForeignServer, state: Path, cli: Cli) -> None:
    """Neither none nor both."""
    assert cli("journal", "retry").code == ExitCode.USAGE
    assert cli("journal", "retry", "--all", OURS).code == ExitCode.USAGE
    assert marks(state)[OURS] == ("refused",)
