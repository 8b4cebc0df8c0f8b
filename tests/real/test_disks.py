"""Servers on disks that stand still or are full, one that stands still itself, and clocks that are wrong.

Both databases are real, and so are the disks: a library that waits in fsync, a file system of a few MiB.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.postgres.cluster import Cluster, programs
from tests.postgres.databases import database
from tests.postgres.replicas import LIMIT_S, TOKEN, Replica

HEADERS: Final = {"Authorization": f"Bearer {TOKEN}"}
STARTED: Final = "2026-01-02T03:04:05.678Z"
DURABLE: Final = ""  # nothing is switched off
LEASE_S: Final = 6.0
PAUSED_S: Final = 8.0


def wait_until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Return once it holds."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def call(replica: Replica, method: str, path: str, body: object = None) -> httpx.Response:
    """Send a request of its own."""
    return httpx.request(method, replica.url + path, json=body, headers=HEADERS, timeout=LIMIT_S * 2)


def made(replica: Replica, method: str, path: str, body: object = None) -> Any:
    """Send a request that must succeed, and return its answer."""
    answer = call(replica, method, path, body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def new_task(replica: Replica) -> str:
    """Make a job with a task."""
    job = made(replica, "POST", "/api/jobs", {"type": "noop"})[0]["id"]
    return str(made(replica, "POST", "/api/jobs/tasks", {"jobId": job})["id"])


def is_ready(replica: Replica) -> bool:
    """Ask its probe."""
    return call(replica, "GET", "/readyz").status_code == 200


def built(folder: Path, name: str) -> Path:
    """Build a library that is loaded before those of a program."""
    library, source = folder / f"{name}.so", Path(__file__).with_name(f"{name}.c")
    command = ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", library, source, "-ldl"], check=True, timeout=60)
    return library


@pytest.fixture
def still(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Give a file, and the environment of a program whose disk stands still while that file is there."""
    file = Path(f"/tmp/millhand-still-{os.getpid()}")
    shared = Path(shutil.copy(built(tmp_path, "still_disk"), f"{file}.so"))
    shared.chmod(0o755)
    return file, {"LD_PRELOAD": str(shared), "STILL_DISK": str(file)}


@contextmanager
def replica_on_a_still_disk(kind: str, folder: Path, environment: dict[str, str]) -> Iterator[Replica]:
    """Serve on a database whose disk may stand still."""
    if kind == "sqlite":
        replica = Replica(f"sqlite:///{folder / 'jobs.db'}", folder, 1, environment=environment)
        try:
            yield replica
        finally:
            replica.stop()
        return
    cluster = Cluster(DURABLE, environment)
    try:
        cluster.start()
        replica = Replica(cluster.url(cluster.new_database()), folder, 1)
        try:
            yield replica
        finally:
            replica.stop()
    finally:
        cluster.remove()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_disk_that_stands_still_is_said_and_loses_nothing(
    kind: str, tmp_path: Path, still: tuple[Path, dict[str, str]]
) -> None:
    """Nothing is answered with 200 before it is on the disk; reads go on; afterwards everything is there."""
    file, environment = still
    answers: list[httpx.Response] = []
    try:
        with replica_on_a_still_disk(kind, tmp_path, environment) as replica:
            task = new_task(replica)
            claim = {"id": "run-1", "taskId": task, "startedAt": STARTED, "podId": "pod"}
            file.touch()
            writing = threading.Thread(
                target=lambda: answers.append(call(replica, "POST", "/api/jobs/runs", claim))
            )
            writing.start()
            wait_until(lambda: not is_ready(replica))
            assert made(replica, "GET", f"/api/jobs/tasks/{task}")["runStatus"] == "pending"
            assert answers == []
            file.unlink()
            writing.join(LIMIT_S)
            assert answers[0].status_code in (200, 503)  # 503: its outcome could not be told in time
            assert made(replica, "POST", "/api/jobs/runs", claim)["id"] == "run-1"
            wait_until(lambda: is_ready(replica))
            replica.kill()
            replica.start_again()
            assert made(replica, "GET", f"/api/jobs/tasks/{task}")["runStatus"] == "running"
    finally:
        file.unlink(missing_ok=True)
        Path(f"{file}.so").unlink(missing_ok=True)


def mounting(place: Path, size: str) -> list[str]:
    """Return what runs a program with a small file system in a folder, which goes with the program."""
    owner = place.parent.stat().st_uid
    mount = f'mount -t tmpfs -o size={size},mode=700,uid={owner} small {place} && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mount, "sh"]


@contextmanager
def replica_on_a_small_disk(kind: str, folder: Path) -> Iterator[tuple[Replica, Path]]:
    """Serve on a database that lies on a file system of its own, and give where that is seen from here."""
    if kind == "sqlite":
        place = folder / "small"
        place.mkdir()
        replica = Replica(f"sqlite:///{place / 'jobs.db'}", folder, 1, before=mounting(place, "40m"))
        try:
            yield replica, Path(f"/proc/{replica.process.pid}/root{place}")
        finally:
            replica.stop()
        return

    def before(of: Path) -> Sequence[str]:
        (of / "small").mkdir()
        return mounting(of / "small", "60m")

    cluster = Cluster(DURABLE, before=before)
    try:
        cluster.start()
        place = Path(f"/proc/{cluster.pid}/root{cluster.folder}/small")
        cluster.ask(f"CREATE TABLESPACE small LOCATION '{cluster.folder}/small'")
        name = cluster.new_database()
        cluster.ask(f"ALTER DATABASE {name} SET TABLESPACE small")
        replica = Replica(cluster.url(name), folder, 1)
        try:
            yield replica, place
        finally:
            replica.stop()
    finally:
        cluster.remove()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_full_disk_is_said_and_what_was_answered_is_there(kind: str, tmp_path: Path) -> None:
    """Writes get 503 and change nothing; reads go on; with room again writes do, without a restart."""
    big = {"type": "noop", "parameters": {"x": os.urandom(250_000).hex()}}
    stored: list[str] = []
    with replica_on_a_small_disk(kind, tmp_path) as (replica, place):
        (place / "ballast").write_bytes(bytes(10_000_000))
        while (answer := call(replica, "POST", "/api/jobs", big)).status_code == 200:
            stored.append(answer.json()[0]["id"])
            assert len(stored) < 500
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"]
        assert {job["id"] for job in made(replica, "GET", "/api/jobs?perPage=100")["jobs"]} == set(stored)
        (place / "ballast").unlink()
        wait_until(lambda: call(replica, "POST", "/api/jobs", big).status_code == 200)
        assert len(made(replica, "GET", "/api/jobs?perPage=100")["jobs"]) == len(stored) + 1
        assert is_ready(replica)


def test_a_server_that_stands_still_for_longer_than_a_lease_takes_nothing_away(tmp_path: Path) -> None:
    """Its agents report elsewhere and keep their runs; who fell silent is reaped once, by another."""
    programs()
    with database() as url:
        replicas = [Replica(url, tmp_path, number, ["--lease", f"{LEASE_S}s"]) for number in (1, 2)]
        still, other = replicas
        over = threading.Event()
        reports: list[int] = []
        try:
            tasks = [new_task(other) for _ in range(2)]
            for number, task in enumerate(tasks):
                body = {"id": f"run-{number}", "taskId": task, "startedAt": STARTED, "podId": f"pod/{number}"}
                headers = {**HEADERS, "Millhand-Agent": f"pod/{number}"}
                answer = httpx.post(f"{still.url}/api/jobs/runs", json=body, headers=headers, timeout=LIMIT_S)
                assert answer.headers["Millhand-Lease"]

            def report() -> None:
                with httpx.Client(headers={**HEADERS, "Millhand-Agent": "pod/0"}, timeout=LIMIT_S) as http:
                    while not over.wait(0.2):
                        body = {"startedAt": STARTED, "progress": 0.5}
                        reports.append(http.put(f"{other.url}/api/jobs/runs/run-0", json=body).status_code)

            agent = threading.Thread(target=report)
            agent.start()
            still.process.send_signal(signal.SIGSTOP)
            time.sleep(PAUSED_S)
            wait_until(lambda: made(other, "GET", f"/api/jobs/tasks/{tasks[1]}")["runStatus"] == "pending")
            still.process.send_signal(signal.SIGCONT)
            wait_until(lambda: is_ready(still))
            time.sleep(LEASE_S / 2)  # in which it would reap, by what it knew before
            over.set()
            agent.join(LIMIT_S)
            assert set(reports) == {200}
            (run,) = made(still, "GET", f"/api/jobs/runs?taskId={tasks[0]}")["runs"]
            assert (run["id"], run["error"], run["stoppedAt"]) == ("run-0", None, None)
            lost = made(still, "GET", f"/api/jobs/runs?taskId={tasks[1]}")["runs"]
            assert [bool(one["stoppedAt"]) for one in lost] == [True, False]
        finally:
            over.set()
            codes = [replica.stop() for replica in replicas]
        assert codes == [0, 0]


def test_clocks_of_servers_do_not_matter(tmp_path: Path) -> None:
    """One is a day ahead, one a day behind: times are the database's, and no lease ends early or late."""
    programs()
    shift = built(tmp_path, "shifted_clock")
    with database() as url:
        replicas = [
            Replica(
                url,
                tmp_path,
                number,
                ["--lease", "5s"],
                environment={"LD_PRELOAD": str(shift), "CLOCK_SHIFT_S": str(days * 86_400)},
            )
            for number, days in enumerate((1, -1))
        ]
        ahead, behind = replicas
        headers = {**HEADERS, "Millhand-Agent": "pod/0"}
        try:
            dates = [parsedate_to_datetime(call(one, "GET", "/healthz").headers["date"]) for one in replicas]
            assert abs((dates[0] - dates[1]).total_seconds() - 2 * 86_400) < LIMIT_S  # they are really wrong
            task = new_task(ahead)
            body = {"id": "run-0", "taskId": task, "startedAt": STARTED, "podId": "pod/0"}
            run = httpx.post(f"{ahead.url}/api/jobs/runs", json=body, headers=headers, timeout=LIMIT_S).json()
            assert abs(datetime.fromisoformat(run["createdAt"]).timestamp() - time.time()) < LIMIT_S
            for _ in range(30):  # for longer than a lease, after both have begun to look
                report = {"startedAt": STARTED, "progress": 0.5}
                answer = httpx.put(
                    f"{behind.url}/api/jobs/runs/run-0", json=report, headers=headers, timeout=LIMIT_S
                )
                assert answer.status_code == 200
                time.sleep(0.3)
            (run,) = made(ahead, "GET", f"/api/jobs/runs?taskId={task}")["runs"]
            assert (run["stoppedAt"], run["error"]) == (None, None)
            wait_until(lambda: made(ahead, "GET", f"/api/jobs/tasks/{task}")["runStatus"] == "pending")
            lost = made(behind, "GET", "/api/jobs/runs/run-0")
            assert abs(datetime.fromisoformat(lost["stoppedAt"]).timestamp() - time.time()) < LIMIT_S
        finally:
            codes = [replica.stop() for replica in replicas]
        assert codes == [0, 0]
