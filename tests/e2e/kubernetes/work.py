"""Jobs for the cluster, and the promises: each task has one result, and no two runs of it live at once."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx

from tests.real.test_rolling import overlapping

__all__ = ["Signs", "Work"]

LIMIT_S: Final = 240.0
NODE: Final = ("10.99.0.1", 5140)


class Signs:
    """The signs of life that handlers send to the node, written down as they come."""

    def __init__(self, log: Path) -> None:
        """Listen."""
        self.log = log
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(NODE)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with self.log.open("ab") as file:
            while line := self._socket.recv(1024).rstrip(b"."):
                file.write(line)
                file.flush()

    def close(self) -> None:
        """Listen no more."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b".", NODE)
        self._thread.join(10.0)
        self._socket.close()


class Work:
    """One job, and its tasks by their numbers."""

    def __init__(self, url: Callable[[], str], token: Callable[[], str], signs: Signs) -> None:
        """Make the job. Address and token are asked for each time."""
        self._url, self._token, self._signs = url, token, signs
        self._client = httpx.Client(trust_env=False, timeout=10.0)
        made = self.ask("POST", "/api/jobs", {"id": uuid4().hex, "title": "e2e", "type": "roll"})
        self.job = str(made["id"])
        self.numbers: dict[str, int] = {}

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask until somebody answers; what is made has an id of ours, so that to repeat it makes one."""
        end_mono = time.monotonic() + LIMIT_S
        while True:
            headers = {"Authorization": f"Bearer {self._token()}"}
            try:
                answer = self._client.request(method, self._url() + path, json=body, headers=headers)
                said = answer.text
                assert answer.status_code not in {400, 404, 422}, said
                if answer.status_code == 409 and body is not None:
                    return body
                if answer.status_code < 400:
                    found = answer.json()
                    return found[0] if isinstance(found, list) else found
            except httpx.TransportError as exc:
                said = repr(exc)
            assert time.monotonic() < end_mono, said
            time.sleep(0.1)

    def add(self, type_: str, count: int, **parameters: Any) -> list[str]:
        """Make more tasks; return their ids."""
        made = []
        for number in range(len(self.numbers), len(self.numbers) + count):
            body = {"id": uuid4().hex, "jobId": self.job, "type": type_}
            told = {"number": number, **parameters}
            made.append(str(self.ask("POST", "/api/jobs/tasks", {**body, "parameters": told})["id"]))
            self.numbers[made[-1]] = number
        return made

    def runs(self, task: str | None = None) -> list[dict[str, Any]]:
        """Return every run, of one task or of all."""
        found: list[dict[str, Any]] = []
        which = f"taskId={task}" if task else f"jobId={self.job}"
        while True:
            page = self.ask("GET", f"/api/jobs/runs?{which}&perPage=100&page={len(found) // 100 + 1}")["runs"]
            found += page
            if len(page) < 100:
                return found

    def wait(self) -> None:
        """Wait until every task has stopped."""
        end_mono = time.monotonic() + LIMIT_S
        while (job := self.ask("GET", f"/api/jobs/{self.job}"))["taskStatusStopped"] != len(self.numbers):
            assert time.monotonic() < end_mono, job
            time.sleep(0.2)

    def holds(self) -> Counter[str]:
        """Wait for all, see that nothing is lost or doubled; return how the other runs ended."""
        self.wait()
        runs = self.runs()
        assert all(run["stoppedAt"] for run in runs)
        done = [run for run in runs if run["resultCode"] == "Success"]
        assert Counter(run["taskId"] for run in done) == dict.fromkeys(self.numbers, 1)
        assert all(run["results"]["square"] == self.numbers[run["taskId"]] ** 2 for run in done)
        told = self._signs.log.read_text()
        assert all(run["id"] in told for run in done), "a run that nobody heard of"
        assert overlapping(self._signs.log) == []
        return Counter(run["error"].partition(":")[0] for run in runs if run["resultCode"] != "Success")
