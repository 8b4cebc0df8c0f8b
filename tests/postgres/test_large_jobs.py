"""A large job changes while servers are killed, and others change it again: real processes on one database.

The test holds the row of a task in the middle, so that whoever follows the change stands there for certain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest

from server.tokens import DEFAULT_ORG_ID
from tests.postgres.replicas import TOKEN, Replica

LIMIT_S: Final = 60.0  # a bound for a hang, not a measure
HEADERS: Final = {"Authorization": f"Bearer {TOKEN}"}
TASKS: Final = 3_500  # three parts of a thousand, and a half
FIRST: Final = 1_000  # follow with the answer
HELD: Final = "task-1500"  # so the second part cannot be done
FILL: Final = f"""
INSERT INTO tasks (org_id, id, job_id, created_by, type, priority, parameters, report_progress, created_at,
                   updated_at, run_status, job_is_active)
SELECT '{DEFAULT_ORG_ID}', 'task-' || lpad(n::text, 4, '0'), 'large', 'me', 'noop', 0, '{{}}', TRUE, n, n,
       'pending', TRUE FROM generate_series(1, {TASKS}) n;
INSERT INTO job_counters VALUES ('{DEFAULT_ORG_ID}', 'large', 0, {TASKS}, 0, 0, 0, 0, 0, 1)"""  # noqa: S608 - built from constants


def call(replica: Replica, method: str, path: str, body: object = None) -> httpx.Response:
    """Ask a server."""
    return httpx.request(method, replica.url + path, json=body, headers=HEADERS, timeout=LIMIT_S)


def wait_until(condition: Callable[[], object]) -> None:
    """Return once it holds."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def change(replica: Replica, state: str) -> None:
    """Set the state of the job; a server that has no time is asked again."""
    wait_until(lambda: call(replica, "PUT", "/api/jobs/large", {"schedulerState": state}).status_code == 200)


def totals(replica: Replica) -> tuple[int, int, int]:
    """Return how many tasks of the job are pending, running, stopped."""
    job = call(replica, "GET", "/api/jobs/large").json()[0]
    return job["taskStatusPending"], job["taskStatusRunning"], job["taskStatusStopped"]


def listed(replica: Replica) -> list[dict[str, Any]]:
    """Return what a poll shows."""
    answer = call(replica, "GET", "/api/jobs/tasks?runStatus=pending")
    tasks: list[dict[str, Any]] = answer.json()["tasks"]
    return tasks


@contextmanager
def two_servers(url: str, folder: Path) -> Iterator[tuple[Replica, Replica, psycopg.Connection[Any]]]:
    """Serve a large job by two servers, and give a connection beside them."""
    first = Replica(url, folder, 1)
    try:
        second = Replica(url, folder, 2)
        try:
            assert call(first, "POST", "/api/jobs", {"id": "large", "type": "noop"}).status_code == 200
            with psycopg.connect(url, autocommit=True) as db:
                db.execute(FILL.encode())
                yield first, second, db
        finally:
            second.stop()
    finally:
        first.stop()


@contextmanager
def standing_still(url: str) -> Iterator[None]:
    """Hold a task in the middle while the block runs."""
    with psycopg.connect(url) as holding:
        holding.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", (HELD,))
        yield


def waits_for_the_task(db: psycopg.Connection[Any]) -> bool:
    """Tell whether somebody stands before the row that is held."""
    return bool(db.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall())


def is_followed(db: psycopg.Connection[Any]) -> bool:
    """Tell whether nothing is left to do."""
    return not db.execute("SELECT 1 FROM jobs WHERE lagging_since IS NOT NULL").fetchall()


def test_a_large_job_is_cancelled_once_though_its_server_is_killed_in_the_middle(
    url: str, tmp_path: Path
) -> None:
    """Counters say what is stopped, nothing can be claimed, and in the end each task has one run."""
    with two_servers(url, tmp_path) as (first, second, db):
        with standing_still(url):
            change(first, "cancelled")
            wait_until(lambda: waits_for_the_task(db))
            for one in (first, second):
                assert totals(one) == (TASKS - FIRST, 0, FIRST)
                assert listed(one) == []
            claim = {"taskId": "task-3000", "startedAt": "2026-01-02T03:04:05.678Z", "podId": "pod"}
            answer = call(second, "POST", "/api/jobs/runs", claim)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "job_not_active")
            first.kill()
        assert totals(second) == (TASKS - FIRST, 0, FIRST)
        first.start_again()
        wait_until(lambda: is_followed(db))
        for one in (first, second):
            assert totals(one) == (0, 0, TASKS)
        runs = db.execute("SELECT count(*), count(DISTINCT task_id), count(stopped_at) FROM runs").fetchall()
        assert runs == [(TASKS, TASKS, TASKS)]


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_large_job_is_resumed_elsewhere_while_its_pause_is_not_done(
    url: str, tmp_path: Path, *, is_killed: bool
) -> None:
    """Whoever follows the pause, or died of it: the newest change holds for all tasks in the end."""
    with two_servers(url, tmp_path) as (first, second, db):
        with standing_still(url):
            change(first, "paused")
            wait_until(lambda: waits_for_the_task(db))
            assert [listed(one) for one in (first, second)] == [[], []]
            if is_killed:
                first.kill()
            change(second, "active")
            assert listed(second)
        wait_until(lambda: is_followed(db))
        if is_killed:
            first.start_again()
        states = db.execute("SELECT DISTINCT run_status, job_is_active FROM tasks").fetchall()
        assert states == [("pending", True)]
        for one in (first, second):
            assert totals(one) == (TASKS, 0, 0)
            assert listed(one)[0]["id"] == "task-0001"
