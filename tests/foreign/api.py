"""The documented endpoints over shelves of jobs, tasks and runs. Not thread-safe."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from tests.foreign.fields import JOB_BODY, PUT_RUN_BODY, RUN_BODY, RUN_FIELDS, TASK_BODY
from tests.foreign.shelf import Item, Shelf
from tests.foreign.switches import Switches

__all__ = ["Api", "Refusal"]


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """An answer other than 200, with the documented error body."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Answer `status` with this code and message."""
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message}}


class Api:
    """Answer requests. Every answer is computed from the runs at the time of asking."""

    def __init__(self, switches: Switches) -> None:
        """Start without jobs."""
        self.switches = switches
        self.jobs, self.tasks, self.runs = Shelf(), Shelf(), Shelf()
        self._last_ms = 0

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:  # noqa: PLR0912 - a table
        """Return the body of a 200, or raise a Refusal."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match method, parts:
            case "GET", ["api", "jobs"]:
                return {"jobs": self._page(self._jobs(query), query)}
            case "POST", ["api", "jobs"]:
                return [self._show_job(self.add_job(self._checked(body, JOB_BODY, "create_job_error")))]
            case "GET", ["api", "jobs", "tasks"]:
                return {"tasks": self._page(self._tasks(query), query)}
            case "POST", ["api", "jobs", "tasks"]:
                return self._one(self._show_task(self._new_task(body), float("inf")))
            case "GET", ["api", "jobs", "runs"]:
                return {"runs": self._page(self._runs(query), query)}
            case "POST", ["api", "jobs", "runs"]:
                return self._one(self._new_run(self._checked(body, RUN_BODY, "create_run_error")))
            case "GET", ["api", "jobs", "reports"]:
                return {"runs": self._page(self._reports(query), query)}
            case "GET", ["api", "jobs", "tasks", id_]:
                task = found(self.tasks.get(id_, self._get_at()), "task")
                return self._one(self._show_task(task, self._get_at()))
            case "PUT", ["api", "jobs", "tasks", id_]:
                return self._one(self._show_task(self._put_task(id_, body), float("inf")))
            case "GET", ["api", "jobs", "runs", id_]:
                return self._one(found(self.runs.get(id_, self._get_at()), "run"))
            case "PUT", ["api", "jobs", "runs", id_]:
                return self._one(self._put_run(id_, body))
            case "GET", ["api", "jobs", id_]:
                return [self._show_job(found(self.jobs.get(id_, self._get_at()), "job"))]
            case "PUT", ["api", "jobs", id_]:
                return [self._show_job(self._put_job(id_, body))]
        raise Refusal(404, "not_found", "No such endpoint")

    # Writing

    def add_job(self, body: Item) -> Item:
        """Store a new job."""
        job = {
            "id": str(uuid.uuid4()),
            "createdBy": None,
            "title": None,
            "type": None,
            "schedulerState": "active",
            "parameters": {},
            "priority": 0,
            **body,
            "orgId": self.switches.org_id,
            "createdAt": self._now(),
            "updatedAt": self._now(),
        }
        return self._store(self.jobs, job)

    def add_task(self, body: Item) -> Item:
        """Store a new task; its job must be there."""
        task = {
            "id": str(uuid.uuid4()),
            "createdBy": None,
            "title": None,
            "type": None,
            "parameters": {},
            "reportProgress": True,
            **body,
            "orgId": self.switches.org_id,
            "createdAt": self._now(),
            "updatedAt": self._now(),
        }
        return self._store(self.tasks, task)

    def _new_task(self, body: Any) -> Item:
        checked = self._checked(body, TASK_BODY, "create_task_error")
        if str(checked.get("jobId")) not in self.jobs:
            raise Refusal(422, "create_task_error", "Create task error")
        return self.add_task(checked)

    def _new_run(self, body: Item) -> Item:
        task = self.tasks.get(str(body.get("taskId")))
        if task is None:
            raise Refusal(422, "create_run_error", "Create run error")
        id_ = str(body.get("id") or uuid.uuid4())
        if self.switches.ids == "ignore":
            id_ = str(uuid.uuid4())
        if id_ in self.runs and self.switches.ids == "honour":
            return self._duplicate(id_)
        run = dict.fromkeys(RUN_FIELDS) | {"reportProgress": True, "jobId": task["jobId"]} | body
        run |= {"id": id_, "orgId": self.switches.org_id, "updatedAt": self._now()}
        run["createdAt"] = run["createdAt"] or self._now()
        return self._store(self.runs, run)

    def _duplicate(self, id_: str) -> Item:
        if self.switches.duplicate == "200":
            return found(self.runs.get(id_), "run")
        status = int(self.switches.duplicate)
        raise Refusal(status, "internal_error" if status == 500 else "create_run_error", "Create run error")

    def _put_run(self, id_: str, body: Any) -> Item:
        run = found(self.runs.get(id_), "run")
        checked = self._checked(body, PUT_RUN_BODY, "update_run_error")
        if self.switches.strings and any(not isinstance(value, str) for value in checked.values()):
            raise Refusal(422, "update_run_error", "every field must be a string")
        if run["stoppedAt"] is not None and self.switches.put_stopped != "accept":
            status = int(self.switches.put_stopped)
            raise Refusal(status, "run_not_found" if status == 404 else "update_run_error", "Run not found")
        return self._store(self.runs, run | checked | {"id": id_, "updatedAt": self._now()})

    def _put_task(self, id_: str, body: Any) -> Item:
        task = found(self.tasks.get(id_), "task")
        checked = self._checked(body, {"parameters", "updatedAt"}, "update_task_error")
        parameters = checked.get("parameters", task["parameters"])
        return self._store(self.tasks, task | {"parameters": parameters, "updatedAt": self._now()})

    def _put_job(self, id_: str, body: Any) -> Item:
        job = found(self.jobs.get(id_), "job")
        checked = self._checked(body, {"parameters"}, "update_job_error")
        parameters = checked.get("parameters", job["parameters"])
        return self._store(self.jobs, job | {"parameters": parameters, "updatedAt": self._now()})

    def _checked(self, body: Any, allowed: set[str], code: str) -> Item:
        if not isinstance(body, dict):
            raise Refusal(422, code, "the body must be an object")
        if self.switches.strict_fields and (unknown := sorted(set(body) - allowed)):
            raise Refusal(422, code, f"unknown fields: {', '.join(unknown)}")
        return body

    def _store(self, shelf: Shelf, item: Item) -> Item:
        shelf.put(time.monotonic(), item)
        return item

    def _now(self) -> str:
        """Return the time of day; never twice the same, so that order is by time alone."""
        self._last_ms = max(
            self._last_ms + 1, time.time_ns() // 1_000_000 + int(self.switches.clock_off_s * 1000)
        )
        at = datetime.fromtimestamp(self._last_ms // 1000, UTC)
        return f"{at:%Y-%m-%dT%H:%M:%S}.{self._last_ms % 1000:03d}Z"

    # Reading

    def _list_at(self) -> float:
        return time.monotonic() - self.switches.lag_s if self.switches.lag_s else float("inf")

    def _get_at(self) -> float:
        return self._list_at() if self.switches.lagging_gets else float("inf")

    def _jobs(self, query: dict[str, str]) -> list[Item]:
        jobs = [self._show_job(job, self._list_at()) for job in self.jobs.all(self._list_at())]
        return filtered(jobs, query, "orgId", "status")

    def _tasks(self, query: dict[str, str]) -> list[Item]:
        runs = self._by_task(self._list_at())
        tasks = [shown(task, runs.get(task["id"], [])) for task in self.tasks.all(self._list_at())]
        return filtered(tasks, query, "orgId", "jobId", "runStatus")

    def _runs(self, query: dict[str, str]) -> list[Item]:
        return filtered(self.runs.all(self._list_at()), query, "orgId", "jobId", "taskId")

    def _reports(self, query: dict[str, str]) -> list[Item]:
        if not query.get("orgId"):
            raise Refusal(404, "runs_not_found", "Runs not found")
        return [self._show_report(run) for run in self._runs({"orgId": query["orgId"]})]

    def _show_report(self, run: Item) -> Item:
        task = self.tasks.get(run["taskId"]) or {}
        job = self.jobs.get(run["jobId"]) or {}
        kept = {name: run[name] for name in ("createdBy", "orgId", "progress", "startedAt", "stoppedAt")}
        return kept | {"title": task.get("title"), "type": task.get("type"), "jobTitle": job.get("title")}

    def _by_task(self, at: float) -> dict[str, list[Item]]:
        found: dict[str, list[Item]] = {}
        for run in self.runs.all(at):
            found.setdefault(run["taskId"], []).append(run)
        return found

    def _show_task(self, task: Item, at: float) -> Item:
        return shown(task, self._by_task(at).get(task["id"], []))

    def _show_job(self, job: Item, at: float = float("inf")) -> Item:
        runs = self._by_task(at)
        tasks = [
            shown(task, runs.get(task["id"], [])) for task in self.tasks.all(at) if task["jobId"] == job["id"]
        ]
        counts = {
            word: sum(t["runStatus"] == word for t in tasks) for word in ("pending", "running", "stopped")
        }
        done = [1.0 if task["runStatus"] == "stopped" else float(task["runProgress"]) for task in tasks]
        return job | {
            "taskCount": len(tasks),
            "taskStatusPending": counts["pending"],
            "taskStatusRunning": counts["running"],
            "taskStatusStopped": counts["stopped"],
            "taskResultSuccesses": sum(stopped_with(task, "Success") for task in tasks),
            "taskResultFailures": sum(stopped_with(task, "Failed") for task in tasks),
            "taskProgress": sum(done) / len(done) if done else 0,
            "status": job_status(counts),
        }

    def _page(self, items: list[Item], query: dict[str, str]) -> list[Item]:
        sort = (query.get("sort") or "+createdAt").replace(" ", "+")
        name = sort.lstrip("+-")
        items = sorted(items, key=by(name), reverse=sort.startswith("-"))
        if self.switches.unpaged:
            return items
        per_page = min(100, int(query.get("perPage", 30)))
        start = (int(query.get("page", 1)) - 1) * per_page
        return items[start : start + per_page]

    def _one(self, item: Item) -> Any:
        return [item] if self.switches.wrapped else item


def found(item: Item | None, kind: str) -> Item:
    """Return the item, or refuse as documented."""
    if item is None:
        raise Refusal(404, f"{kind}_not_found", f"{kind.capitalize()} not found")
    return item


def filtered(items: list[Item], query: dict[str, str], *names: str) -> list[Item]:
    """Return the items that agree with every given query parameter."""
    asked = {name: query[name] for name in names if query.get(name)}
    return [item for item in items if all(item.get(name) == value for name, value in asked.items())]


def by(name: str) -> Callable[[Item], tuple[bool, str]]:
    """Return the sort key for a field; what lacks it comes first."""
    return lambda item: (item.get(name) is not None, str(item.get(name)))


def shown(task: Item, runs: list[Item]) -> Item:
    """Return a task as its most recent run has it."""
    run = max(runs, key=lambda run: (run["createdAt"], run["id"]), default={})
    progress = 0 if run.get("progress") is None else run["progress"]
    return task | {"runStatus": status(run), "runResult": run.get("resultCode"), "runProgress": progress}


def status(run: Item) -> str:
    """Return the documented status of a task with this most recent run."""
    if run.get("stoppedAt"):
        return "stopped"
    return "running" if run.get("startedAt") else "pending"


def job_status(counts: dict[str, int]) -> str:
    """Return running from the first start to the last stop, as other services have it."""
    if counts["running"] or (counts["pending"] and counts["stopped"]):
        return "running"
    return "stopped" if counts["stopped"] else "pending"


def stopped_with(task: Item, code: str) -> bool:
    """Tell whether a task ended with a result code."""
    return bool(task["runStatus"] == "stopped" and task["runResult"] == code)
