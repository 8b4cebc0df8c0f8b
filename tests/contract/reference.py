"""What the reference documents of answers: every field with its JSON type, and the errors."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = [
    "ENDPOINTS",
    "ERRORS",
    "JOB",
    "REPORT",
    "RUN",
    "TASK",
    "assert_error",
    "assert_shape",
]

NOWHERE: Final = "00000000-0000-4000-8000-000000000000"  # an id that nothing has
INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

# Kinds of values; a "?" at the end allows null.
JOB: Final = {
    "id": "text",
    "createdBy": "text?",
    "title": "text?",
    "orgId": "text",
    "schedulerState": "text",
    "type": "text?",
    "createdAt": "instant",
    "updatedAt": "instant",
    "parameters": "object",
    "taskStatusPending": "whole",
    "taskStatusRunning": "whole",
    "taskStatusStopped": "whole",
    "taskProgress": "number",
    "taskResultFailures": "whole",
    "taskResultSuccesses": "whole",
    "taskCount": "whole",
    "priority": "whole",
    "status": "status",
}
TASK: Final = {
    "id": "text",
    "createdBy": "text?",
    "title": "text?",
    "orgId": "text",
    "type": "text?",
    "jobId": "text",
    "createdAt": "instant",
    "updatedAt": "instant",
    "parameters": "object",
    "runStatus": "status",
    "runResult": "text?",
    "runProgress": "number?",
    "reportProgress": "truth",
}
RUN: Final = {
    "id": "text",
    "taskId": "text",
    "jobId": "text",
    "createdBy": "text?",
    "createdAt": "instant",
    "updatedAt": "instant",
    "startedAt": "instant?",
    "stoppedAt": "instant?",
    "results": "object?",
    "resultCode": "text?",
    "resultMessage": "text?",
    "error": "text?",
    "progress": "number?",
    "GPUTime": "number?",
    "CPUTime": "number?",
    "machine": "object?",
    "machineType": "text?",
    "cpuPlatform": "text?",
    "gpuType": "text?",
    "instanceID": "text?",
    "limitCPUs": "number?",
    "requestCPUs": "number?",
    "nodeCPUs": "number?",
    "limitRAM": "number?",
    "requestRAM": "number?",
    "nodeRAM": "number?",
    "orgId": "text",
    "podId": "text?",
    "preemptible": "truth?",
    "RAMUsage": "number?",
    "reportProgress": "truth",
    "wallClockTime": "number?",
    "zone": "text?",
}
REPORT: Final = {
    "title": "text?",
    "type": "text?",
    "createdBy": "text?",
    "progress": "number?",
    "orgId": "text",
    "startedAt": "instant?",
    "stoppedAt": "instant?",
    "jobTitle": "text?",
}

# Method, path, and the code of its 404 where the path names something.
ENDPOINTS: Final = [
    ("GET", "/api/jobs", None),
    ("POST", "/api/jobs", None),
    ("GET", f"/api/jobs/{NOWHERE}", "job_not_found"),
    ("PUT", f"/api/jobs/{NOWHERE}", "job_not_found"),
    ("GET", "/api/jobs/tasks", None),
    ("POST", "/api/jobs/tasks", None),
    ("GET", f"/api/jobs/tasks/{NOWHERE}", "task_not_found"),
    ("PUT", f"/api/jobs/tasks/{NOWHERE}", "task_not_found"),
    ("GET", "/api/jobs/runs", None),
    ("POST", "/api/jobs/runs", None),
    ("GET", f"/api/jobs/runs/{NOWHERE}", "run_not_found"),
    ("PUT", f"/api/jobs/runs/{NOWHERE}", "run_not_found"),
    ("GET", "/api/jobs/reports", "runs_not_found"),  # without orgId
]

# Path of a POST -> the code of its 422.
ERRORS: Final = {
    "/api/jobs": "create_job_error",
    "/api/jobs/tasks": "create_task_error",
    "/api/jobs/runs": "create_run_error",
}


def assert_shape(item: Any, fields: dict[str, str]) -> None:
    """Check that an object has every documented field, each of its JSON type."""
    assert isinstance(item, dict)
    assert sorted(fields.keys() - item.keys()) == []
    wrong = {name: item[name] for name, kind in fields.items() if not is_kind(item[name], kind)}
    assert wrong == {}


def is_kind(value: Any, kind: str) -> bool:
    """Tell whether a JSON value is of a kind."""
    if value is None:
        return kind.endswith("?")
    match kind.rstrip("?"):
        case "text":
            return isinstance(value, str)
        case "instant":
            return isinstance(value, str) and INSTANT.fullmatch(value) is not None
        case "object":
            return isinstance(value, dict)
        case "truth":
            return isinstance(value, bool)
        case "whole":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "status":
            return value in ("pending", "running", "stopped")
    raise ValueError(kind)


def assert_error(answer: Any, status: int, code: str | None = None) -> str:
    """Check an error's status, shape and code; returns its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"])
    assert isinstance(body["error"]["message"], str)
    assert body["error"]["message"] != ""
    if code is not None:
        assert body["error"]["code"] == code
    return str(body["error"]["message"])
