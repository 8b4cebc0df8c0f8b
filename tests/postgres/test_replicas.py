"""Real servers on one real database, while servers, connections and the database itself are killed.

`MILLHAND_REPLICAS_SECONDS=600 pytest tests/postgres/test_replicas.py` goes on for longer.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from tests.postgres.databases import cluster
from tests.postgres.replicas import LIMIT_S, TOKEN, Racer, Replica
from tests.postgres.standing import ask

SECONDS = float(os.environ.get("MILLHAND_REPLICAS_SECONDS", "8"))
RACERS = 5
EACH_ONCE = 4  # kinds of harm
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5"""
COUNTED = """
SELECT sum(pending), sum(running), sum(stopped), sum(failures), sum(successes), sum(progress)
FROM job_counters"""


def made(url: str, tasks: int) -> str:
    """Make a job with so many tasks, by one server."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=url, headers=headers, timeout=LIMIT_S, trust_env=False) as http:
        job = http.post("/api/jobs", json={"title": "race", "type": "noop"}).json()[0]["id"]
        for _ in range(tasks):
            answer = http.post("/api/jobs/tasks", json={"jobId": job, "type": "noop"})
            assert answer.status_code == 200, answer.text
    return str(job)


def harms(url: str, replicas: list[Replica], chance: random.Random) -> list[Callable[[], None]]:
    """Return what is done to servers and database, in turn."""

    def kill_a_server() -> None:
        victim = chance.choice(replicas)
        victim.kill()
        victim.start_again()

    def cut_connections() -> None:
        ask(url, CUT)

    def crash_the_database() -> None:
        cluster().stop(signal.SIGQUIT)
        time.sleep(chance.uniform(0, 0.3))
        cluster().start()

    def stop_a_server_for_a_while() -> None:
        victim = chance.choice(replicas)
        victim.process.send_signal(signal.SIGSTOP)
        time.sleep(chance.uniform(0.5, 2.5))
        victim.process.send_signal(signal.SIGCONT)

    return [kill_a_server, cut_connections, crash_the_database, stop_a_server_for_a_while]


def test_no_task_is_claimed_twice_and_no_result_is_lost_whatever_dies(url: str, tmp_path: Path) -> None:
    """Agents race through three servers; in the end each task was one agent's, is done, and is counted."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    chance = random.Random(seed)
    replicas = [Replica(url, tmp_path, number) for number in range(3)]
    try:
        tasks = int(20 * SECONDS)
        job = made(replicas[0].url, tasks)
        begun = time.monotonic()
        urls = [replica.url for replica in replicas]
        racers = [
            Racer(f"racer-{n}", urls, job, begun + SECONDS + LIMIT_S, chance.randrange(1 << 29) * 2 + n % 2)
            for n in range(RACERS)
        ]
        for racer in racers:
            racer.start()
        for done, harm in enumerate(cycle(harms(url, replicas, chance))):
            if time.monotonic() - begun > SECONDS and done >= EACH_ONCE:
                break
            time.sleep(chance.uniform(0.1, 0.6))
            harm()
        for racer in racers:
            racer.join(LIMIT_S * 2)
            assert not racer.is_alive()
    finally:
        codes = [replica.stop() for replica in replicas]
    check(url, racers, tasks)
    assert codes == [0, 0, 0]


def check(url: str, racers: list[Racer], tasks: int) -> None:
    """Compare what agents believe with what the database holds."""
    assert [problem for racer in racers for problem in racer.unexpected] == []
    won = [(task_id, f"pod/{racer.name}") for racer in racers for task_id in racer.won]
    assert len(won) == len({task_id for task_id, _ in won}) == tasks
    assert sorted(won) == sorted((t, f"pod/{racer.name}") for racer in racers for t in racer.finished)
    stored = ask(url, "SELECT task_id, pod_id FROM runs WHERE started_at IS NOT NULL")
    assert sorted(stored) == sorted(won)
    ended = ask(
        url,
        "SELECT DISTINCT result_code, results.body = '{\"by\":\"' || pod_id || '\"}' FROM runs"
        " JOIN results ON results.run_id = runs.id",
    )
    assert ended == [("Success", True)]
    counted: list[tuple[Any, ...]] = ask(url, COUNTED)
    assert [int(number) for number in counted[0]] == [0, 0, tasks, 0, tasks, tasks * 1_000_000]
    shown = ask(url, "SELECT DISTINCT run_status, run_result FROM tasks")
    assert shown == [("stopped", "Success")]
    # Without a repeated request nothing of the above was put to the test.
    assert sum(racer.repeated for racer in racers) > 0
