"""A plain caller of the Jobs API: httpx and the reference, nothing of ours."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx

from tests.contract.reference import JOB, RUN, TASK, assert_shape

__all__ = ["STARTED", "STOPPED", "Caller"]

Item = dict[str, Any]

STARTED = "2026-01-02T03:04:05.678Z"
STOPPED = "2026-01-02T03:05:06.789Z"
LIMIT_S = 20.0


class Caller:
    """Call a server with a token. The named methods expect 200 and a whole object."""

    def __init__(self, name: str, url: str, token: str | None) -> None:
        """Call the server at a URL; `name` is "ours" or "foreign"."""
        self.name = name
        self.url = url
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=LIMIT_S, trust_env=False)

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make one request."""
        return self.http.request(method, path, **options)

    def expect(self, method: str, path: str, **options: Any) -> Any:
        """Make one request that must succeed; return its body."""
        answer = self.call(method, path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def job(self, **body: Any) -> Item:
        """Create a job."""
        return one_job(self.expect("POST", "/api/jobs", json={"title": "job", "type": "noop", **body}))

    def task(self, job_id: str | None = None, **body: Any) -> Item:
        """Create a task, in a new job unless one is named."""
        body = {"title": "task", "type": "noop", "jobId": job_id or self.job()["id"], **body}
        return whole(self.expect("POST", "/api/jobs/tasks", json=body), TASK)

    def claim(self, task_id: str, **body: Any) -> Item:
        """Create a started run of a task."""
        body = {"id": str(uuid4()), "taskId": task_id, "startedAt": STARTED, "podId": "pod/a", **body}
        return whole(self.expect("POST", "/api/jobs/runs", json=body), RUN)

    def placeholder(self, task_id: str) -> Item:
        """Create a run that is neither started nor stopped."""
        return whole(self.expect("POST", "/api/jobs/runs", json={"id": str(uuid4()), "taskId": task_id}), RUN)

    def report(self, run_id: str, **body: Any) -> Item:
        """Update a run."""
        return whole(self.expect("PUT", f"/api/jobs/runs/{run_id}", json=body), RUN)

    def stop(self, run_id: str, code: str = "Success", **body: Any) -> Item:
        """Stop a run."""
        return self.report(run_id, stoppedAt=STOPPED, resultCode=code, **body)

    def get_job(self, id_: str) -> Item:
        """Read a job."""
        return one_job(self.expect("GET", f"/api/jobs/{id_}"))

    def get_task(self, id_: str) -> Item:
        """Read a task."""
        return whole(self.expect("GET", f"/api/jobs/tasks/{id_}"), TASK)

    def get_run(self, id_: str) -> Item:
        """Read a run."""
        return whole(self.expect("GET", f"/api/jobs/runs/{id_}"), RUN)

    def list(self, kind: str, **query: Any) -> list[Item]:
        """List jobs, tasks, runs or reports."""
        path = "/api/jobs" if kind == "jobs" else f"/api/jobs/{kind}"
        body = self.expect("GET", path, params=query)
        items = body["runs" if kind == "reports" else kind]
        assert isinstance(items, list)
        return items


def one_job(body: Any) -> Item:
    """Return the job of an answer: a list of one, as the reference shows it."""
    assert isinstance(body, list)
    assert len(body) == 1
    return whole(body[0], JOB)


def whole(body: Any, fields: dict[str, str]) -> Item:
    """Return an object that has all documented fields."""
    assert_shape(body, fields)
    assert isinstance(body, dict)
    return body
