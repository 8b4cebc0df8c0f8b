"""Two real agents, one real server, two thousand tasks: what the children themselves wrote down decides."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from server.testing import RunningServer, running_server
from tests.acceptance.agents import running_agent
from tests.acceptance.record import executions, overlaps
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig

RECORDER = Path(__file__).with_name("recorder.py")
TASKS = 2000
LIMIT_S = 150.0  # a bound for a hang, not a measure: it takes a tenth of it


async def submit(api: JobsApi, count: int) -> str:
    """Create a job with so many tasks, several at once."""
    job = await api.create_job({"title": "acceptance", "type": "record"})
    gate = asyncio.Semaphore(16)

    async def create(number: int) -> None:
        async with gate:
            await api.create_task({"jobId": job.id, "type": "record", "parameters": {"number": number}})

    await asyncio.gather(*(create(number) for number in range(count)))
    return job.id


async def until_stopped(api: JobsApi, job_id: str, count: int) -> dict[str, Any]:
    """Wait until every task of the job is stopped."""
    give_up = time.monotonic() + LIMIT_S
    while True:
        job = await api.get_job(job_id)
        if job.task_status_stopped == count:
            return job.raw
        assert time.monotonic() < give_up, f"not all stopped within {LIMIT_S} s: {job.raw}"
        await asyncio.sleep(0.2)


async def all_runs(api: JobsApi, job_id: str) -> list[dict[str, Any]]:
    """Return every run of the job."""
    runs: list[dict[str, Any]] = []
    while page := await api.list_runs(job_id=job_id, page=len(runs) // 100 + 1, per_page=100):
        runs += [run.raw for run in page]
        if len(page) < 100:
            break
    return runs


def asked(server: RunningServer) -> Counter[str]:
    """Return how often each operation was asked for."""
    counts = Counter[str]()
    for (operation, _), durations in server.app.activity.requests.items():
        counts[operation] += sum(durations.counts)
    return counts


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run the whole thing once: the job, its runs, and the children's own record."""
    folder = tmp_path_factory.mktemp("agents")

    async def main() -> tuple[dict[str, Any], list[dict[str, Any]], Counter[str]]:
        with running_server(db=f"sqlite:///{folder}/jobs.sqlite3") as server:
            async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
                job_id = await submit(api, TASKS)
                settings = {"MILLHAND_HANDLERS": str(RECORDER)}
                with (
                    running_agent(folder / "a", server.url, server.token, slots=4, settings=settings),
                    running_agent(folder / "b", server.url, server.token, slots=4, settings=settings),
                ):
                    job = await until_stopped(api, job_id, TASKS)
                return job, await all_runs(api, job_id), asked(server)

    job, runs, counts = asyncio.run(main())
    return job, runs, executions(folder), counts


def test_each_task_has_exactly_one_successful_run(story: Any) -> None:
    """Counted from the runs, and by the job's own counters."""
    job, runs, _, _ = story
    successes = Counter(run["taskId"] for run in runs if run["resultCode"] == "Success")
    assert len(successes) == TASKS
    assert set(successes.values()) == {1}
    assert len(runs) == TASKS
    assert all(run["stoppedAt"] for run in runs)
    assert (job["taskResultSuccesses"], job["taskResultFailures"], job["status"]) == (TASKS, 0, "stopped")
    assert job["taskProgress"] == 1


def test_no_two_executions_of_a_task_overlap(story: Any) -> None:
    """By the children's own clocks and lines, whatever the server's rows say."""
    _, runs, record, _ = story
    assert overlaps(record) == []
    begun = Counter(line.task_id for line in record if line.what == "begin")
    assert len(begun) == TASKS
    assert set(begun.values()) == {1}
    assert {line.run_id for line in record} == {run["id"] for run in runs}


def test_both_agents_took_part_and_children_stayed_warm(story: Any) -> None:
    """A test of two agents in which one did nothing would show nothing."""
    _, runs, record, _ = story
    shares = Counter(run["podId"] for run in runs)
    assert len(shares) == 2
    assert min(shares.values()) > TASKS // 20
    assert len({line.pid for line in record}) <= 16


def test_what_was_due_at_one_moment_went_in_one_request(story: Any) -> None:
    """Claims and outcomes, each counted by itself; and so there are fewer requests than there are writes."""
    counts = story[3]
    together = counts["create_run_in_batch"] + counts["update_run_in_batch"]
    alone = counts["create_run"] + counts["update_run"]
    assert together + alone >= 2 * TASKS
    assert together >= 2 * counts["write_batch"] > 0
