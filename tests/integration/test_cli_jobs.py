"""Submit, list and steer jobs on a real server, with the command line in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.testing import RunningServer, running_server
from tests.unit.cli.conftest import Cli, cli, own_home, own_logs
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.cli.exits import ExitCode
from worker.config import ApiConfig

__all__ = ["cli", "own_home", "own_logs"]  # fixtures


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """Serve the API, with the command line set to it."""
    with running_server() as running:
        monkeypatch.setenv("MILLHAND_API_URL", running.url)
        monkeypatch.setenv("MILLHAND_TOKEN", running.token)
        yield running


def submit(cli: Cli, *args: str) -> dict[str, Any]:
    """Submit and return what was printed."""
    ran = cli("submit", *args)
    assert ran.code == 0, ran.err
    submitted: dict[str, Any] = json.loads(ran.out)
    return submitted


def test_a_submit_makes_a_task_for_each_file_and_combination(
    server: RunningServer, cli: Cli, tmp_path: Path
) -> None:
    """Files, formats and requirements reach the task as the handler and the agent read them."""
    for name in ("a.glb", "b.glb"):
        (tmp_path / name).write_bytes(b"glTF")
    done = submit(
        cli, "mesh-convert", str(tmp_path / "a.glb"), str(tmp_path / "b.glb"),
        "-p", "format=stl", "-p", "format=ply", "--requires", "cpus=1", "--priority", "5",
        "--title", "two models",
    )  # fmt: skip
    job = done["job"]
    assert (job["title"], job["type"], job["priority"], job["taskCount"]) == (
        "two models",
        "mesh-convert",
        5,
        4,
    )
    tasks = json.loads(cli("tasks", "--job", job["id"]).out)["tasks"]
    assert {(task["title"], task["parameters"]["input"], task["parameters"]["format"]) for task in tasks} == {
        (f"{name} format={format_}", (tmp_path / name).as_uri(), format_)
        for name in ("a.glb", "b.glb")
        for format_ in ("stl", "ply")
    }
    assert all(task["parameters"]["requires"] == {"cpus": 1} for task in tasks)


def test_a_submit_limits_every_task(server: RunningServer, cli: Cli) -> None:
    """As the agent reads them; what no agent could read is refused before anything is made."""
    done = submit(
        cli, "sleep", "-p", "seconds=1..2", "-p", 'limits={"timeout": 5, "noProgress": "2m"}',
        "--timeout", "1h30m", "--memory", "4GiB",
    )  # fmt: skip
    tasks = json.loads(cli("tasks", "--job", done["job"]["id"]).out)["tasks"]
    limits = {"timeout": 5400.0, "noProgress": "2m", "memory": 4 * 2**30}
    assert [task["parameters"]["limits"] for task in tasks] == [limits, limits]
    refused = cli("submit", "sleep", "-p", 'limits={"timeout": "soon"}')
    assert refused.code == ExitCode.USAGE
    assert "limits.timeout must be seconds" in refused.err
    assert cli("submit", "sleep", "--timeout", "0").code == ExitCode.USAGE


def test_a_type_that_looks_like_a_slip_is_warned_of(server: RunningServer, cli: Cli) -> None:
    """It is made all the same: an agent elsewhere may have it; stdout stays JSON alone."""
    ran = cli("submit", "nop")
    assert ran.code == 0
    assert "did you mean 'noop'?" in ran.err
    assert json.loads(ran.out)["job"]["id"] in ran.err
    assert cli("submit", "paint-walls").err == ""


def test_the_same_key_is_the_same_job(server: RunningServer, cli: Cli) -> None:
    """A repeated submit makes nothing; the same key for something else is refused."""
    first = submit(cli, "sleep", "-p", "seconds=1..3", "--idempotency-key", "nightly")
    again = submit(cli, "sleep", "-p", "seconds=1..3", "--idempotency-key", "nightly")
    assert (first["created"], again["created"]) == (3, 0)
    assert first["taskIds"] == again["taskIds"]
    assert again["job"]["taskCount"] == 3
    for other in (["sleep", "-p", "seconds=1..4"], ["noop", "-p", "seconds=1..3"]):
        ran = cli("submit", *other, "--idempotency-key", "nightly", "--no-check")
        assert ran.code == ExitCode.REFUSED
        assert "used before with other content" in ran.err
    assert submit(cli, "sleep", "-p", "seconds=1..3")["created"] == 3


def test_a_submit_that_was_cut_off_is_completed_by_its_key(
    server: RunningServer, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was created is said, and the same command completes it."""
    create, made = JobsApi.create_task, 0

    async def create_some(self: JobsApi, body: dict[str, Any]) -> Any:
        nonlocal made
        made += 1
        if made > 5:
            return await JobsApi.get_task(self, "missing")  # the server's own refusal
        return await create(self, body)

    with monkeypatch.context() as patched:
        patched.setattr(JobsApi, "create_task", create_some)  # no server of ours stops half-way by itself
        ran = cli("submit", "noop", "-p", "value=1..20", "--idempotency-key", "cut")
    assert ran.code == ExitCode.REFUSED
    assert "5 of 20 tasks" in ran.err
    assert "--idempotency-key cut" in ran.err
    done = submit(cli, "noop", "-p", "value=1..20", "--idempotency-key", "cut")
    assert (done["created"], len(done["taskIds"]), done["job"]["taskCount"]) == (15, 20, 20)


def test_lists_go_on_over_pages(server: RunningServer, cli: Cli) -> None:
    """More than a page can hold, as many as asked for, and each once."""
    job_id = submit(cli, "noop", "-p", "value=1..130")["job"]["id"]
    everything = json.loads(cli("tasks", "--job", job_id, "--all").out)["tasks"]
    assert len({task["id"] for task in everything}) == 130
    assert len(json.loads(cli("tasks", "--job", job_id, "--limit", "105").out)["tasks"]) == 105
    assert len(json.loads(cli("tasks").out)["tasks"]) == 30
    assert json.loads(cli("tasks", "--type", "sleep").out)["tasks"] == []
    assert [job["id"] for job in json.loads(cli("jobs", "--status", "pending").out)["jobs"]] == [job_id]
    assert json.loads(cli("jobs", "--status", "stopped").out)["jobs"] == []


def test_tables_are_for_people(server: RunningServer, cli: Cli) -> None:
    """Ids stand whole in a line, so that they can be copied."""
    done = submit(cli, "noop", "-p", "value=[1]")
    job_id, task_id = done["job"]["id"], done["taskIds"][0]
    assert job_id in cli("jobs", "--no-json").out
    assert task_id in cli("tasks", "--no-json").out
    assert "active" in cli("jobs", job_id, "--no-json").out
    assert '{"value": [1]}' in cli("tasks", task_id, "--no-json").out
    assert cli("runs", "--task", task_id, "--no-json").err == "no runs\n"


def test_a_job_is_paused_resumed_and_cancelled(server: RunningServer, cli: Cli) -> None:
    """The answer of the server is what is told."""
    job_id = submit(cli, "noop")["job"]["id"]
    for name, state in (("pause", "paused"), ("resume", "active"), ("cancel", "cancelled")):
        ran = cli(name, job_id)
        assert (ran.code, json.loads(ran.out)["schedulerState"]) == (0, state)
    ran = cli("watch", job_id)
    assert ran.code == ExitCode.FAILED
    assert json.loads(ran.out)["job"]["schedulerState"] == "cancelled"
    ran = cli("resume", job_id)
    assert json.loads(ran.out)["schedulerState"] == "active"
    assert "nothing of it runs again" in ran.err


def test_a_server_that_cannot_pause_is_not_said_to_have_done_it(
    server: RunningServer, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented PUT ignores the field: the job stays as it was."""
    job_id = submit(cli, "noop")["job"]["id"]

    async def update_as_documented(self: JobsApi, job_id: str, body: dict[str, Any]) -> Any:
        return await JobsApi.get_job(self, job_id)

    monkeypatch.setattr(JobsApi, "update_job", update_as_documented)  # ours is no such server
    ran = cli("pause", job_id)
    assert ran.code == ExitCode.REFUSED
    assert "still has schedulerState active" in ran.err


def test_one_run_is_shown_with_machine_usage_and_results(server: RunningServer, cli: Cli) -> None:
    """Unknown is a dash, and sizes and times are for people."""
    done = submit(cli, "noop")
    started, stopped = "2026-01-01T00:00:00.000Z", "2026-01-01T00:01:05.000Z"

    async def work() -> str:
        async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
            body = {
                "taskId": done["taskIds"][0],
                "jobId": done["job"]["id"],
                "podId": "p",
                "startedAt": started,
            }
            run = await api.create_run({**body, "nodeRAM": 1024**3})
            report = {
                "stoppedAt": stopped,
                "resultCode": "Success",
                "results": {"answer": 42},
                "CPUTime": 1.5,
            }
            await api.update_run(run.id, {"startedAt": started, **report})
            return run.id

    run_id = asyncio.run(work())
    text = cli("runs", run_id, "--no-json").out
    for said in ("Success", "1.50 s", "1.0 GiB", '"answer": 42', "peak RAM –"):
        assert said in " ".join(text.split())
    for which in ((run_id,), ("--job", done["job"]["id"])):
        assert "1 run 1.50 s" in " ".join(
            cli("runs", *which, "--bill", "--no-json").out.replace("–", "").split()
        )
        assert json.loads(cli("runs", *which, "--bill").out)["sum"]["cpuSeconds"] == 1.5
    assert json.loads(cli("runs", run_id).out)["results"] == {"answer": 42}
    ran = cli("watch", done["job"]["id"], "--no-json")
    assert ran.code == 0
    assert "1 task succeeded, 0 failed" in ran.err


def test_exit_codes_tell_what_was_wrong(
    server: RunningServer, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not found, not authorised, no token, not reachable; a program gets the message as JSON."""
    assert cli("jobs", "missing").code == ExitCode.REFUSED
    assert cli("runs").code == ExitCode.USAGE
    ran = cli("jobs", "--token", "wrong", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["exitCode"]) == (4, 4)
    assert "wrong" not in ran.err.replace("401", "")
    monkeypatch.delenv("MILLHAND_TOKEN")
    assert cli("jobs").code == ExitCode.UNAUTHORISED
    assert cli("jobs", "--token-file", "/missing/token").code == ExitCode.CONFIGURATION
    ran = cli("jobs", "--api-url", "https://127.0.0.1:9", "--ca-file", "/missing/ca.pem")
    assert ran.code == ExitCode.CONFIGURATION
    ran = cli("jobs", "--api-url", "http://127.0.0.1:9")
    assert ran.code == ExitCode.UNREACHABLE
    assert "connection refused" in ran.err


def test_doctor_sees_server_clock_and_what_is_left(server: RunningServer, cli: Cli) -> None:
    """Warnings do not make it fail; a server that does not answer does."""
    submit(cli, "no-such-type")
    ran = cli("doctor")
    assert ran.code == 0, ran.out
    checks = {check["check"]: check for check in json.loads(ran.out)["checks"]}
    assert checks["server"]["state"] == checks["clock"]["state"] == checks["token"]["state"] == "ok"
    assert "no handler for type 'no-such-type'" in checks["pending tasks"]["message"]
    assert cli("doctor", "--api-url", "http://127.0.0.1:9").code == 1
    assert cli("doctor", "--token", "wrong").code == 1
