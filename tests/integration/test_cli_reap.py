"""`millhand reap` on servers of somebody else's, and on ours with and without leases."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from server.testing import RunningServer, running_server
from tests.foreign import ForeignServer, foreign_server
from tests.unit.cli.conftest import Cli, Ran, cli, own_home, own_logs
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.api.errors import Conflict
from worker.api.ids import claim_run_id, requeue_run_id
from worker.api.models import Run
from worker.cli.exits import ExitCode
from worker.config import ApiConfig

__all__ = ["cli", "own_home", "own_logs"]  # fixtures

T = TypeVar("T")
Server = ForeignServer | RunningServer
AGENT = "gpu-host-7/agent-1"
STARTED = "2026-01-02T03:04:05.678Z"
LIMIT_S = 20.0  # a bound for a hang


def asked(server: Server, work: Callable[[JobsApi], Coroutine[Any, Any, T]], agent: str | None = None) -> T:
    """Do something through the API, as an agent where one is named."""

    async def main() -> T:
        async with open_api(ApiConfig(url=server.url, token=server.token), agent=agent) as api:
            return await work(api)

    return asyncio.run(main())


def claim(server: Server, task_id: str, *, pod_id: str = AGENT, agent: str | None = None) -> Run:
    """Start a run of a task."""
    body = {"id": claim_run_id(task_id), "taskId": task_id, "podId": pod_id, "startedAt": STARTED}
    return asked(server, lambda api: api.create_run(body), agent)


def new_task(server: Server, type_: str = "render") -> str:
    """Return the id of a new task, in a job of its own."""

    async def make(api: JobsApi) -> str:
        job = await api.create_job({"title": "job", "type": type_})
        task = await api.create_task({"title": "task", "type": type_, "jobId": job.id, "parameters": {}})
        return task.id

    return asked(server, make)


def reap(cli: Cli, server: Server, *args: str, silent: str = "10m") -> Ran:
    """Run the command against a server."""
    return cli("reap", "--silent-for", silent, "--api-url", server.url, "--token", server.token, *args)


def silent_runs(ran: Ran) -> list[str]:
    """Return the runs that a call named as silent."""
    assert ran.code == 0, ran.err
    return [one["run"] for one in json.loads(ran.out)["silent"]]


def silent_run(server: ForeignServer, type_: str = "render", **told: Any) -> Run:
    """Return a run that was not reported on for an hour."""
    run = claim(server, server.add_task(type_), **told)
    server.age_run(run.id, 3600)
    return run


def writes(server: ForeignServer) -> list[str]:
    """Return the requests so far that change something."""
    return [request.method for request in server.requests if request.method != "GET"]


def test_without_yes_it_shows_and_changes_nothing(cli: Cli) -> None:
    """For people with whom it may hit, for programs by JSON; a run that was heard of is not named."""
    with foreign_server() as server:
        run = silent_run(server)
        claim(server, server.add_task("render"))
        before = writes(server)
        ran = reap(cli, server)
        assert silent_runs(ran) == [run.id]
        assert json.loads(ran.out)["dryRun"] is True
        text = reap(cli, server, "--no-json")
        assert run.id in text.out
        assert "stopped, requeued" in text.out
        assert "nothing was done" in text.err
        assert "executed twice" in text.err
        assert writes(server) == before


def test_a_silent_run_is_stopped_after_its_task_was_requeued(cli: Cli) -> None:
    """By the placeholder that its agent would post; done twice it is done once."""
    with foreign_server() as server:
        run = silent_run(server)
        ran = reap(cli, server, "--yes", "--no-json")
        assert ran.code == 0
        assert "given up as worker_lost; its task is pending again" in ran.err
        stopped, placeholder = server.runs_of(run.task_id or "")
        assert (stopped["resultCode"], stopped["error"].partition(":")[0]) == ("Failed", "worker_lost")
        assert (stopped["podId"], stopped["startedAt"]) == (AGENT, STARTED)
        assert (placeholder["id"], placeholder["startedAt"]) == (requeue_run_id(run.id), None)
        assert writes(server)[-2:] == ["POST", "PUT"]
        assert silent_runs(reap(cli, server, "--yes")) == []


@pytest.mark.parametrize("off_s", [-86400.0, 86400.0])
def test_only_the_servers_own_clock_counts(cli: Cli, off_s: float) -> None:
    """A machine that is a day early or late sees the same runs."""
    with foreign_server(clock_off_s=off_s) as server:
        run = silent_run(server)
        claim(server, server.add_task("render"))
        assert silent_runs(reap(cli, server)) == [run.id]
        assert silent_runs(reap(cli, server, silent="2h")) == []
        assert reap(cli, server, "--yes").code == 0
        stopped_at = Run.read(server.runs[run.id])
        assert stopped_at is not None
        assert stopped_at.stopped_at is not None
        assert abs(stopped_at.stopped_at.timestamp() - time.time() - off_s) < 600


def test_a_server_that_does_not_tell_its_clock_is_refused(cli: Cli) -> None:
    """How long a run is silent is then a guess."""
    with foreign_server(dated=False) as server:
        silent_run(server)
        ran = reap(cli, server, "--yes")
        assert (ran.code, "no Date" in ran.err) == (ExitCode.REFUSED, True)
        assert writes(server)[-1] == "POST"  # the claim


def test_a_run_whose_reports_have_no_time_counts_from_its_creation_and_it_is_said(cli: Cli) -> None:
    """A person must know that it may be reported on all the time."""
    with foreign_server() as server:
        run = silent_run(server)
        server.age_run(run.id, 3600, says_updated=False)
        ran = reap(cli, server, "--no-json")
        assert run.id in ran.out
        assert "counted from their creation" in ran.err


def test_it_can_be_narrowed_to_a_type_a_job_and_an_agent(cli: Cli) -> None:
    """By the whole podId, or by the machine in it."""
    with foreign_server() as server:
        render = silent_run(server)
        convert = silent_run(server, "convert", pod_id="other-host/agent-2")
        assert set(silent_runs(reap(cli, server))) == {render.id, convert.id}
        for narrow in (("--type", "convert"), ("--job", str(convert.job_id)), ("--pod-id", "other-host")):
            assert silent_runs(reap(cli, server, *narrow)) == [convert.id]
        assert silent_runs(reap(cli, server, "--pod-id", AGENT)) == [render.id]
        assert silent_runs(reap(cli, server, "--pod-id", "gpu-host")) == []


def test_a_run_that_is_reported_on_before_it_is_written_to_goes_on(cli: Cli) -> None:
    """It is read again right before: its agent has come back between the list and the writing."""
    with foreign_server() as server:
        first, second = silent_run(server), silent_run(server)
        report = {"startedAt": STARTED, "progress": 0.5}

        async def come_back(api: JobsApi) -> None:
            await api.update_run(second.id, report)

        held = server.delay_next(1.0, method="POST", path="/runs")  # the requeue of the first one

        async def main() -> Ran:
            reaping = asyncio.create_task(asyncio.to_thread(reap, cli, server, "--yes"))
            assert await asyncio.to_thread(held.hit.wait, LIMIT_S)
            async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
                await come_back(api)
            return await reaping

        server.age_run(first.id, 7200)  # the longest silent comes first
        ran = asyncio.run(main())
        ended = {one["run"]: one["what"] for one in json.loads(ran.out)["ended"]}
        assert "worker_lost" in ended[first.id]
        assert "left alone: it was reported on meanwhile" in ended[second.id]
        assert server.runs[second.id]["stoppedAt"] is None
        assert len(server.runs_of(second.task_id or "")) == 1


def test_a_stop_that_failed_is_made_up_for_by_the_next_call(cli: Cli) -> None:
    """The first says how; the task is not requeued twice, also by a server that gives ids of its own."""
    with foreign_server(ids="ignore") as server:
        run = silent_run(server)
        broken = server.fail_next(422, count=9, method="PUT", path="/runs")
        ran = reap(cli, server, "--yes", "--no-json")
        assert (ran.code, f"--job {run.job_id}" in ran.err) == (ExitCode.FAILED, True)
        broken.count = 0
        assert reap(cli, server, "--yes", "--job", str(run.job_id)).code == 0
        stopped, placeholder = server.runs_of(run.task_id or "")
        assert (stopped["id"], stopped["resultCode"], placeholder["startedAt"]) == (run.id, "Failed", None)


def test_a_task_that_has_gone_on_is_not_requeued(cli: Cli) -> None:
    """Where a later run stands, only the silent one is stopped: two at once would be the least of it."""
    with foreign_server() as server:
        run = silent_run(server)
        again = {"taskId": run.task_id, "podId": "pod/b", "startedAt": "2026-01-02T05:00:00.000Z"}
        later = asked(server, lambda api: api.create_run(again))
        ran = reap(cli, server, "--yes")
        assert [one["requeues"] for one in json.loads(ran.out)["silent"]] == [False]
        assert server.runs[run.id]["stoppedAt"] is not None
        assert (len(server.runs_of(run.task_id or "")), server.runs[later.id]["stoppedAt"]) == (2, None)


def test_a_run_of_a_stopped_job_is_not_requeued(cli: Cli) -> None:
    """Nobody wants its task any more."""
    with foreign_server() as server:
        run = silent_run(server)
        server.set_scheduler_state(run.job_id or "", "cancelled")
        assert reap(cli, server, "--yes").code == 0
        (stopped,) = server.runs_of(run.task_id or "")
        assert stopped["error"].startswith("worker_lost")


def until_silent(cli: Cli, server: RunningServer, run_id: str) -> Ran:
    """Ask until a run counts as silent for a second; returns the answer that names it."""
    until_mono = time.monotonic() + LIMIT_S
    while run_id not in silent_runs(ran := reap(cli, server, silent="1s")):
        assert time.monotonic() < until_mono, "the run is never silent"
        time.sleep(0.1)
    return ran


def test_our_server_without_leases_gives_the_task_to_the_next_and_refuses_the_late_report(cli: Cli) -> None:
    """The agent that was cut off learns it by its next report, and ends the run."""
    with running_server(lease_s=0) as server:
        run = claim(server, new_task(server), agent=AGENT)
        until_silent(cli, server, run.id)
        ran = reap(cli, server, "--yes", silent="1s")
        assert ran.code == 0, ran.err
        task_id = run.task_id or ""
        assert asked(server, lambda api: api.get_task(task_id)).run_status == "pending"
        body = {"id": claim_run_id(task_id, requeue_run_id(run.id)), "taskId": task_id, "podId": "pod/b"}
        again = {**body, "startedAt": "2026-01-02T05:00:00.000Z"}
        assert asked(server, lambda api: api.create_run(again), "pod/b").is_live
        with pytest.raises(Conflict, match="run_stopped"):
            asked(server, lambda api: api.update_run(run.id, {"startedAt": STARTED, "progress": 0.5}), AGENT)


def test_runs_with_a_lease_are_left_to_the_server(cli: Cli) -> None:
    """Of agents that know leases; a run of another client has none, and may be given up."""
    with running_server(lease_s=3600) as server:
        leased = claim(server, new_task(server), agent=AGENT)
        other = claim(server, new_task(server), pod_id="client")
        until_silent(cli, server, leased.id)
        until_silent(cli, server, other.id)
        text = reap(cli, server, "--no-json", silent="1s")
        assert "left to the server" in text.out
        assert "1 run with a lease" in text.err
        ran = reap(cli, server, "--yes", silent="1s")
        assert [one["run"] for one in json.loads(ran.out)["ended"]] == [other.id]
        assert asked(server, lambda api: api.get_run(leased.id)).is_live
        assert not asked(server, lambda api: api.get_run(other.id)).is_live


def test_a_time_must_be_told(cli: Cli) -> None:
    """There is no usual one: it depends on who runs there."""
    assert cli("reap").code == ExitCode.USAGE
    assert cli("reap", "--silent-for", "0").code == ExitCode.USAGE
