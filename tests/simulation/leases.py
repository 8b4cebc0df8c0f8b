"""A virtual server that grants leases and gives the tasks of silent runs away, as ours does."""

from __future__ import annotations

from typing import Any

from tests.simulation.server import Item, Reply, VirtualServer
from worker.api.ids import requeue_run_id
from worker.api.wire import CLAIMS_HEADER, LEASE_HEADER, format_error, format_instant, parse_instant

__all__ = ["LeasingServer"]

LEASE_S = 60.0


class LeasingServer(VirtualServer):
    """One live run per task; runs are leased; late results count while nobody has started the task."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Begin without runs."""
        super().__init__(*args, **options)
        self._ends: dict[str, float] = {}  # of leases, by run
        self._lost: set[str] = set()  # runs that were stopped for their silence
        self._late: set[str] = set()  # of them those that told their end since, as long as nobody asked

    is_leasing = True

    def was_late(self, run_id: str) -> bool:
        """Tell whether the end of a run was told after it had been given away; asked once."""
        is_late = run_id in self._late
        self._late.discard(run_id)
        return is_late

    def headers(self, value: Any) -> dict[str, str]:
        """Return what an answer says beside its body."""
        is_run = isinstance(value, dict) and value.get("id") in self._ends and not value.get("stoppedAt")
        return (
            super().headers(value)
            | {CLAIMS_HEADER: "unique"}
            | ({LEASE_HEADER: f"{LEASE_S:g}"} if is_run else {})
        )

    def handle(self, method: str, path: str, query: dict[str, str], body: Item) -> Reply:
        """Look for silent runs, then answer."""
        self._reap()
        status, value = super().handle(method, path, query, body)
        if status == 200 and method in ("POST", "PUT") and "/runs" in path:
            self._grant(value)
        return status, value

    def _grant(self, run: Item) -> None:
        if run.get("startedAt") and not run.get("stoppedAt"):
            self._ends[run["id"]] = self.clock.mono() + LEASE_S

    def _reap(self) -> None:
        now = self.clock.mono()
        for id_, end in list(self._ends.items()):
            run = self.runs[id_]
            if run["stoppedAt"]:
                del self._ends[id_]
            elif now > end:
                del self._ends[id_]
                self._give_away(run)

    def _give_away(self, run: Item) -> None:
        error = format_error("worker_lost", "its agent was silent")
        run.update(stoppedAt=format_instant(self.clock.now()), resultCode="Failed", error=error)
        self._lost.add(run["id"])
        id_ = requeue_run_id(run["id"])
        if id_ not in self.runs:
            placeholder = {"id": id_, "taskId": run["taskId"], "jobId": run.get("jobId")}
            super()._create(placeholder)

    def _create(self, body: Item) -> Reply:
        if (known := self.runs.get(body["id"])) is not None:
            is_same = instant(known) == instant(body) and known.get("podId") == body.get("podId")
            return (200, dict(known)) if is_same else conflict("run_conflict")
        if body.get("startedAt") and not body.get("stoppedAt"):
            if not any(task["id"] == body["taskId"] for task in self.pending()) or self._live(body["taskId"]):
                return conflict("task_not_pending")
            self._close_placeholders(body["taskId"], body["id"])
        return super()._create(body)

    def _live(self, task_id: str) -> bool:
        return any(run["startedAt"] and not run["stoppedAt"] for run in self.runs_of(task_id))

    def _close_placeholders(self, task_id: str, by: str) -> None:
        for run in self.runs_of(task_id):
            if not run["startedAt"] and not run["stoppedAt"]:
                error = format_error("requeued", f"continued as run {by}")
                run.update(stoppedAt=format_instant(self.clock.now()), resultCode="Failed", error=error)

    def _update(self, run: Item, body: Item) -> Reply:
        if not run["stoppedAt"]:
            return super()._update(run, body)
        is_success = body.get("resultCode") == "Success"
        if run["id"] in self._lost and body.get("stoppedAt") and self._is_in_time(run, is_success):
            self._lost.discard(run["id"])
            self._late.add(run["id"])
            run.update({"error": None, **body})
            return 200, dict(run)
        is_same = run["stoppedAt"] == body.get("stoppedAt") and run["resultCode"] == body.get("resultCode")
        return (200, dict(run)) if is_same else conflict("run_stopped")

    def _is_in_time(self, run: Item, is_success: bool) -> bool:
        latest = self.runs_of(run["taskId"])[-1]
        if latest["id"] == requeue_run_id(run["id"]) and not (latest["startedAt"] or latest["stoppedAt"]):
            if is_success:
                del self.runs[latest["id"]]
            return True
        return bool(latest["id"] == run["id"])


def instant(run: Item) -> Any:
    """Return when a run says that it began."""
    return parse_instant(run.get("startedAt"))


def conflict(code: str) -> Reply:
    """Return the documented refusal."""
    return 409, {"error": {"code": code, "message": code}}
