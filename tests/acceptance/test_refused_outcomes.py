"""Outcomes that a server took in no form: a person finds, keeps and sends them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.agents import running_agent
from tests.foreign import ForeignServer, foreign_server
from tests.foreign.http import Request
from tests.unit.cli.conftest import Cli, cli, own_home, own_logs
from worker.cli.exits import ExitCode

__all__ = ["cli", "own_home", "own_logs"]  # fixtures

HANDLER = """\
from worker import handler, Context


@handler("answer")
def answer(ctx: Context) -> dict:
    return {"answer": 42}
"""
LIMIT_S = 90.0  # a bound for a hang
REFUSAL = {"error": {"code": "update_run_error", "message": "Update run error"}}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give the settings of agents, and the command line set to the state of one."""
    (tmp_path / "answers.py").write_text(HANDLER)
    monkeypatch.setenv("MILLHAND_STATE_DIR", str(tmp_path / "a" / "state"))
    return {
        "MILLHAND_HANDLERS": str(tmp_path / "answers.py"), "MILLHAND_TYPES": "answer",
        "MILLHAND_POLL_INTERVAL": "0.2", "MILLHAND_POLL_MAX": "0.5", "MILLHAND_SETTLE": "0.2",
    }  # fmt: skip


def listed(cli: Cli) -> list[dict[str, Any]]:
    """Return what the journal lists."""
    ran = cli("journal", "--json")
    assert ran.code == 0, ran.err
    entries: list[dict[str, Any]] = json.loads(ran.out)["entries"]
    return entries


def wait_until_refused(cli: Cli, state: Path) -> dict[str, Any]:
    """Ask the journal, beside the agent, until its one entry is refused."""
    until_mono = time.monotonic() + LIMIT_S
    entries: list[dict[str, Any]] = []
    while [one["state"] for one in entries] != ["refused"]:
        assert time.monotonic() < until_mono, entries
        time.sleep(0.1)
        entries = listed(cli) if (state / "journal").is_dir() else []
    return entries[0]


def refused_run(server: ForeignServer, folder: Path, settings: dict[str, str], cli: Cli) -> str:
    """Have an agent come to an outcome that its server takes in no form; return the run."""
    task = server.add_task("answer")
    rule = server.fail_next(422, count=10_000, method="PUT", path="/runs", body=REFUSAL)
    with running_agent(folder, server.url, server.token, slots=1, settings=settings):
        entry = wait_until_refused(cli, folder / "state")
        held = cli("journal", "retry", entry["run"], "--api-url", server.url, "--token", server.token)
        assert (held.code, "stop it first" in held.err) == (ExitCode.CONFIGURATION, True)
    rule.count = 0
    assert (entry["task"], entry["type"], entry["result"]) == (task, "answer", "Success")
    assert "422 (update_run_error" in entry["why"]
    log = (folder / "agent.log").read_text()
    assert f"millhand journal show {entry['run']}" in log
    return str(entry["run"])


def polls(requests: list[Request]) -> list[Request]:
    """Return those that look for pending tasks."""
    return [request for request in requests if request.query.get("runStatus") == "pending"]


def test_a_refused_outcome_is_kept_and_after_a_retry_delivered(
    settings: dict[str, str], tmp_path: Path, cli: Cli
) -> None:
    """By the next start of its agent, once the server is mended; the run is not executed again."""
    with foreign_server() as server:
        run = refused_run(server, tmp_path / "a", settings, cli)
        assert cli("journal", "export", str(tmp_path / "kept.jsonl")).code == 0
        (line,) = (tmp_path / "kept.jsonl").read_text().splitlines()
        assert json.loads(line)["outcome"]["results"]["answer"] == 42
        ran = cli("journal", "retry", "--all", "--api-url", server.url, "--token", server.token)
        assert ran.code == 0, ran.err
        assert [one["retried"] for one in json.loads(ran.out)["runs"]] == [True]
        assert (listed(cli)[0]["state"], listed(cli)[0]["why"]) == ("on its way", None)
        with running_agent(tmp_path / "a", server.url, server.token, slots=1, settings=settings):
            server.wait_until(lambda: server.runs[run]["resultCode"] == "Success", LIMIT_S)
        assert server.runs[run]["results"]["answer"] == 42
        assert len(server.runs) == 1
    assert listed(cli) == []


def test_an_outcome_whose_task_was_given_away_is_never_sent_again(
    settings: dict[str, str], tmp_path: Path, cli: Cli
) -> None:
    """Somebody gave the run up and the task went on: the old result is only kept, here."""
    with foreign_server() as server:
        run = refused_run(server, tmp_path / "a", settings, cli)
        server.age_run(run, 3600)
        where = ("--api-url", server.url, "--token", server.token)
        assert cli("reap", "--silent-for", "10m", "--yes", *where).code == 0
        with running_agent(tmp_path / "b", server.url, server.token, slots=1, settings=settings):
            server.wait_until(
                lambda: any(r["resultCode"] == "Success" for r in server.runs.values()), LIMIT_S
            )
        before = server.runs
        ran = cli("journal", "retry", run, *where)
        assert (ran.code, "has been started again" in ran.err + ran.out) == (ExitCode.REFUSED, True)
        (tmp_path / "a" / "agent.log").unlink()  # it tells when the next one has started
        seen = len(server.requests)
        with running_agent(tmp_path / "a", server.url, server.token, slots=1, settings=settings):
            server.wait_until(lambda: polls(server.requests[seen:]), LIMIT_S)  # which is after the recovery
        assert server.runs == before
    assert [one["state"] for one in listed(cli)] == ["refused"]
    assert cli("journal", "export", str(tmp_path / "kept.jsonl"), run).code == 0
    assert cli("journal", "drop", run, "--exported", str(tmp_path / "kept.jsonl")).code == 0
    assert listed(cli) == []
