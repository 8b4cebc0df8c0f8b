"""Servers as real processes on one database, and agents that race through them by the protocol."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid4, uuid5

import httpx

__all__ = ["TOKEN", "Racer", "Replica"]

TOKEN: Final = "token-of-replicas"
LIMIT_S: Final = 60.0  # a bound for a hang, not a measure
OPTIONS: Final = ("serve", "--db-connections", "4", "--db-timeout", "2s")
REQUEST_S: Final = 4.0  # then it is sent again, elsewhere


class Replica:
    """`millhand serve`, started again on the same port when it was killed."""

    def __init__(
        self,
        url: str,
        folder: Path,
        number: int,
        options: Sequence[str] = (),
        *,
        environment: Mapping[str, str] = {},
        before: Sequence[str] = (),
    ) -> None:
        """Start it, with more options, with more in its environment, and by another program if need be."""
        self._command = [*before, sys.executable, "-P", "-m", "worker.cli.main", *OPTIONS, *options]
        self._environment = dict(environment)
        self._db = url
        self._log = folder / f"replica-{number}.log"
        self._port = "0"
        self.process = self._start()
        self.url = self.wait_ready()
        self._port = self.url.rpartition(":")[2]

    def _start(self) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILLHAND_")}
        with self._log.open("wb") as output:
            return subprocess.Popen(
                [*self._command, "--port", self._port],
                env=inherited
                | self._environment
                | {"MILLHAND_SERVER_DB": self._db, "MILLHAND_SERVER_TOKEN": TOKEN},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def wait_ready(self) -> str:
        """Return its URL once it listens."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            if found := re.search(r"listening on (http://[\d.:]+)", self._log.read_text(errors="replace")):
                return found[1]
            assert self.process.poll() is None, self._log.read_text(errors="replace")
            time.sleep(0.02)
        raise TimeoutError(self._log.read_text(errors="replace"))

    def kill(self) -> None:
        """Kill it at once."""
        self.process.kill()
        self.process.wait(LIMIT_S)

    def start_again(self) -> None:
        """Start it where it was; a database that is away is waited for."""
        end = time.monotonic() + LIMIT_S
        while True:
            self.process = self._start()
            try:
                self.wait_ready()
            except AssertionError:
                assert time.monotonic() < end
                time.sleep(0.1)
            else:
                return

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(LIMIT_S)


class Racer(threading.Thread):
    """An agent without executor: claims, reports, stops, at any server, and repeats what has no answer."""

    def __init__(self, name: str, urls: list[str], job_id: str, stop_at: float, seed: int) -> None:
        """Prepare; `won` and `lost` tell what it believes."""
        super().__init__(name=name, daemon=True)
        self.won: list[str] = []
        self.finished: list[str] = []
        self.overlapping: list[str] = []
        self.unexpected: list[str] = []
        self.repeated = 0
        self._pod = f"pod/{name}"
        self._urls = urls
        self._job = job_id
        self._stop_at = stop_at
        self._random = random.Random(seed)
        self._has_random_ids = seed % 2 == 0
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {TOKEN}", "Millhand-Agent": self._pod},
            timeout=REQUEST_S,
            trust_env=False,
        )

    def run(self) -> None:
        """Work until nothing is left."""
        with self._http:
            while time.monotonic() < self._stop_at:
                tasks = self._call("GET", "/api/jobs/tasks?runStatus=pending&perPage=5").json()["tasks"]
                if tasks:
                    self._try(self._random.choice(tasks)["id"])
                elif self._call("GET", f"/api/jobs/{self._job}").json()[0]["status"] == "stopped":
                    return
                else:
                    time.sleep(0.05)

    def _try(self, task_id: str) -> None:
        # As our agents do, or as any client may, with an id of its own for each claim.
        run_id = str(uuid4() if self._has_random_ids else uuid5(NAMESPACE_URL, task_id))
        identity = {"podId": self._pod, "startedAt": "2026-01-02T03:04:05.678Z"}
        answer = self._call("POST", "/api/jobs/runs", {"id": run_id, "taskId": task_id, **identity})
        if answer.status_code == 409:
            answer = self._call("GET", f"/api/jobs/runs/{run_id}")
        if answer.status_code != 200 or answer.json()["podId"] != self._pod:
            return
        if task_id in self.won:
            self.overlapping.append(task_id)
        self.won.append(task_id)
        self._work(task_id, run_id)

    def _work(self, task_id: str, run_id: str) -> None:
        path, started = f"/api/jobs/runs/{run_id}", {"startedAt": "2026-01-02T03:04:05.678Z"}
        for progress in (0.25, 0.5):
            self._expect(self._call("PUT", path, {**started, "progress": progress, "CPUTime": progress}))
        end = {"stoppedAt": "2026-01-02T04:04:05.678Z", "resultCode": "Success", "results": {"by": self._pod}}
        self._expect(self._call("PUT", path, {**started, **end}))
        self.finished.append(task_id)

    def _expect(self, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            self.unexpected.append(f"{answer.request.method} {answer.request.url}: {answer.text}")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Send a request until a server answers it."""
        while True:
            url = self._random.choice(self._urls)
            try:
                answer = self._http.request(method, url + path, json=body)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code < 500:
                return answer
            self.repeated += 1
            if time.monotonic() > self._stop_at + LIMIT_S / 2:
                raise TimeoutError(f"{method} {path}: no answer, at the last {answer and answer.text}")
            time.sleep(self._random.uniform(0.02, 0.2))
