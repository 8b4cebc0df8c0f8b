"""What the benchmark asks of the Jobs API: documented requests only, one at a time."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import httpx

__all__ = ["Caller"]

Item = dict[str, Any]

LIMIT_S: Final = 30.0


class Caller:
    """Call one server with one token."""

    def __init__(self, url: str, token: str) -> None:
        """Hold a client; nothing is sent."""
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=LIMIT_S, trust_env=False
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def is_answered(self) -> bool:
        """Tell whether the server is there and lets us in."""
        try:
            return self._http.get("/api/jobs").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def create_job(self, type_: str) -> str:
        """Create a job; return its id."""
        return str(self._call("POST", "/api/jobs", {"title": "benchmark", "type": type_})["id"])

    def create_task(self, job_id: str, type_: str, parameters: Item | None = None) -> str:
        """Create a task; return its id."""
        task = {"title": "bench", "type": type_, "jobId": job_id, "parameters": parameters or {}}
        return str(self._call("POST", "/api/jobs/tasks", task)["id"])

    def set_state(self, job_id: str, state: str) -> None:
        """Let a job be paused, or active again."""
        self._call("PUT", f"/api/jobs/{job_id}", {"schedulerState": state})

    def job(self, job_id: str) -> Item:
        """Return a job with its counters."""
        return self._call("GET", f"/api/jobs/{job_id}")

    def stopped_run(self, task_id: str) -> Item | None:
        """Return the run of a task once it has stopped."""
        reply = self._http.get("/api/jobs/runs", params={"taskId": task_id}).raise_for_status()
        return next((run for run in reply.json()["runs"] if run["stoppedAt"]), None)

    def _call(self, method: str, path: str, body: Item | None = None) -> Item:
        reply = self._http.request(method, path, json=body).raise_for_status().json()
        item: Item = reply[0] if isinstance(reply, list) else reply  # a job comes as a list of one
        return item
