"""PostgreSQL whose log of writes has no room left: it ends, and the server says so and loses nothing.

The disk is real: a file system of some MiB under `pg_wal`, in a mount namespace that outlives PostgreSQL.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.postgres.cluster import Cluster
from tests.postgres.replicas import LIMIT_S, Replica
from tests.real.test_disks import DURABLE, STARTED, call, is_ready, made, new_task, wait_until

DISK: Final = "96m"  # segments of the log have 16 MiB
BALLAST_BYTES: Final = 40_000_000
BODY_BYTES: Final = 250_000
MOST_WRITES: Final = 2_000
REFUSED: Final = 10  # writes, then the log is full indeed
# The log that initdb began is moved to the small disk, which then lies in its place.
MOUNT: Final = """
mount -t tmpfs -o size=$3,mode=700,uid=$2 small "$1/small" && cp -a "$1/data/pg_wal/." "$1/small/" &&
mount --bind "$1/small" "$1/data/pg_wal" && echo mounted && exec sleep infinity"""


class SmallLog:
    """A disk for the log of a cluster, held by a process of its own."""

    def __init__(self) -> None:
        """Nothing is mounted yet."""
        self._holder: subprocess.Popen[bytes] | None = None

    def before(self, folder: Path) -> Sequence[str]:
        """Return what runs PostgreSQL where the disk is mounted; it is made when that starts first."""
        if self._holder is None:
            (folder / "small").mkdir()
            owner = str(folder.stat().st_uid)
            self._holder = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", MOUNT, "sh", str(folder), owner, DISK],
                stdout=subprocess.PIPE,
            )
            assert self._holder.stdout is not None
            assert self._holder.stdout.readline() == b"mounted\n"
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]

    def ballast(self, folder: Path) -> Path:
        """Return a file on that disk, as it is seen from here."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root{folder}/small/ballast")

    def remove(self) -> None:
        """Let the disk go."""
        if self._holder is not None:
            self._holder.kill()
            self._holder.communicate(timeout=LIMIT_S)


@contextmanager
def server_on_a_small_log(folder: Path) -> Iterator[tuple[Replica, Cluster, Path]]:
    """Serve on a PostgreSQL whose log lies on a small disk; give what takes room on it."""
    log = SmallLog()
    try:
        cluster = Cluster(DURABLE, before=log.before)
        try:
            cluster.start()
            ballast = log.ballast(cluster.folder)
            ballast.write_bytes(bytes(BALLAST_BYTES))
            replica = Replica(cluster.url(cluster.new_database()), folder, 1)
            try:
                yield replica, cluster, ballast
            finally:
                replica.stop()
        finally:
            cluster.remove()
    finally:
        log.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")
def test_a_full_log_of_the_database_is_said_and_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """Writes are 503 with `Retry-After` from the first one on that finds no room; with room all goes on."""
    with server_on_a_small_log(tmp_path) as (replica, cluster, ballast):
        task = new_task(replica)
        identity = {"startedAt": STARTED, "podId": "pod"}
        made(replica, "POST", "/api/jobs/runs", {"id": "run-1", "taskId": task, **identity})
        answers = filled(replica)
        assert {answer.status_code for answer in answers.values()} == {200, 503}
        for answer in answers.values():
            if answer.status_code == 503:
                assert answer.json()["error"]["code"] == "unavailable"
                assert answer.headers["Retry-After"]
        assert "PANIC" in (cluster.folder / "log").read_text()
        assert call(replica, "GET", "/healthz").status_code == 200
        assert replica.process.poll() is None
        ballast.unlink()
        wait_until(lambda: is_there_again(cluster, replica))
        end = {"stoppedAt": STARTED, "resultCode": "Success", **identity}
        made(replica, "PUT", "/api/jobs/runs/run-1", end)
        shown = made(replica, "GET", f"/api/jobs/tasks/{task}")
        assert (shown["runStatus"], shown["runResult"]) == ("stopped", "Success")
        for job, answer in answers.items():
            if answer.status_code == 200:
                assert call(replica, "GET", f"/api/jobs/{job}").status_code == 200
            else:  # it was not stored, or it was not known whether; who sends it again has it once
                assert call(replica, "POST", "/api/jobs", {"id": job}).status_code in (200, 409)
        listed = [one["id"] for page in range(1, 20) for one in _jobs(replica, page)]
        assert sorted(listed) == sorted([*answers, shown["jobId"]])


def filled(replica: Replica) -> dict[str, httpx.Response]:
    """Make jobs until no more are taken; return the answer for each of them."""
    answers = dict[str, httpx.Response]()
    refused = 0
    for number in range(MOST_WRITES):
        job = {"id": f"job-{number}", "type": "noop", "parameters": {"x": os.urandom(BODY_BYTES).hex()}}
        answer = answers[f"job-{number}"] = call(replica, "POST", "/api/jobs", job)
        refused += answer.status_code != 200
        if refused >= REFUSED:
            break
    return answers


def is_there_again(cluster: Cluster, replica: Replica) -> bool:
    """Tell whether the server is ready; a PostgreSQL that ended for good is started, as somebody would."""
    if not cluster.is_running:
        cluster.start()
    return is_ready(replica)


def _jobs(replica: Replica, page: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = made(replica, "GET", f"/api/jobs?perPage=100&page={page}")["jobs"]
    return found
