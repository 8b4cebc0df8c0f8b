"""A server of the documented API in virtual time.

Small and independent of ours: no extension, no lease, no uniqueness of live runs.
"""

from __future__ import annotations

from email.utils import format_datetime
from random import Random
from typing import Any, Literal

from tests.simulation.loop import VirtualClock
from worker.api.wire import BATCH_HEADER, format_instant

Item = dict[str, Any]
Reply = tuple[int, Any]
Ids = Literal["key", "ignore", "overwrite"]


class VirtualServer:
    """Jobs, tasks and runs in memory; `ids` tells what becomes of a run's id that is known."""

    def __init__(self, clock: VirtualClock, random: Random, ids: Ids = "key", lag_s: float = 0.0) -> None:
        """`lag_s`: lists show the state of so long ago."""
        self.clock, self.random, self.ids, self.lag_s = clock, random, ids, lag_s
        self.tasks: dict[str, Item] = {}
        self.runs: dict[str, Item] = {}
        self.job_state = "active"
        self.retry_after_s = 0  # told with each 429
        self.batch_most = 0  # writes that it takes in one request
        self.tells_date = False
        self.accepts_stopped = False  # reports on runs that are over, as some servers do
        self.asked: list[str] = []  # method and path of each request that arrived
        self.denies: dict[str, Reply] = {}  # answers given instead, by method and path
        self._seen: list[tuple[float, list[Item]]] = []  # versions of all runs, for lists that lag

    def add_task(self, id_: str, parameters: Item | None = None) -> None:
        """Add a pending task."""
        self.tasks[id_] = {"id": id_, "jobId": "job", "type": "noop", "parameters": parameters or {}}

    def runs_of(self, task_id: str, runs: list[Item] | None = None) -> list[Item]:
        """Return the runs of a task, oldest first."""
        among = self.runs.values() if runs is None else runs
        return sorted(
            (one for one in among if one["taskId"] == task_id), key=lambda one: (one["createdAt"], one["id"])
        )

    is_leasing = False  # silent runs are given away

    def was_late(self, run_id: str) -> bool:
        """Tell whether the end of a run was told after the run had been given away; asked once."""
        return False

    def has_for_offer(self) -> bool:
        """Tell that nobody has to wait: it knows no offers."""
        return True

    def headers(self, value: Any) -> dict[str, str]:
        """Return what an answer says beside its body: the time, and that it takes batches, where it does."""
        date = {"Date": format_datetime(self.clock.now(), usegmt=True)} if self.tells_date else {}
        return date | ({BATCH_HEADER: str(self.batch_most)} if self.batch_most else {})

    def handle(self, method: str, path: str, query: dict[str, str], body: Item) -> Reply:
        """Answer one request."""
        self.asked.append(f"{method} {path}")
        if denied := self.denies.get(f"{method} {path}"):
            return denied
        parts = path.strip("/").split("/")[2:]
        if path in ("/api/batch", "/api/offers"):
            return 404, {"error": {"code": "not_found", "message": "none"}}
        if not parts or parts[0] not in ("tasks", "runs"):
            return 200, [{"id": "job", "schedulerState": self.job_state}]
        if parts[0] == "tasks" and len(parts) > 1:
            task = self.tasks.get(parts[1])
            return (
                (200, dict(task)) if task else (404, {"error": {"code": "task_not_found", "message": "none"}})
            )
        if parts[0] == "tasks":
            return 200, {"tasks": page(self.pending(), query)}
        if method == "POST":
            return self._create(body)
        if len(parts) == 1:
            return 200, {"runs": page(self.runs_of(query["taskId"], self._shown()), query)}
        if (run := self.runs.get(parts[1])) is None:
            return 404, {"error": {"code": "run_not_found", "message": "Run not found"}}
        return self._update(run, body) if method == "PUT" else (200, dict(run))

    def pending(self) -> list[Item]:
        """Return the tasks that lists show as pending: never run, or the most recent run is a placeholder."""
        latest: dict[str, Item] = {}
        for run in self._shown():
            known = latest.get(run["taskId"])
            if known is None or (known["createdAt"], known["id"]) < (run["createdAt"], run["id"]):
                latest[run["taskId"]] = run
        return [task for id_, task in self.tasks.items() if id_ not in latest or is_placeholder(latest[id_])]

    def _create(self, body: Item) -> Reply:
        id_ = body["id"]
        if self.ids == "ignore":
            id_ = f"server-{self.random.getrandbits(64):016x}"
        elif id_ in self.runs and self.ids == "key":
            return 409, {"error": {"code": "create_run_error", "message": "id exists"}}
        run = {"podId": None, "startedAt": None, "stoppedAt": None, **body, "id": id_}
        self.runs[id_] = {**run, "createdAt": format_instant(self.clock.now())}
        self._keep()
        return 200, dict(self.runs[id_])

    def _update(self, run: Item, body: Item) -> Reply:
        if run["stoppedAt"] and not self.accepts_stopped:
            return 409, {"error": {"code": "run_stopped", "message": "stopped"}}
        run.update(body)
        self._keep()
        return 200, dict(run)

    def _keep(self) -> None:
        if self.lag_s:
            self._seen.append((self.clock.mono(), [dict(run) for run in self.runs.values()]))

    def _shown(self) -> list[Item]:
        """Return the runs as lists show them."""
        if not self.lag_s:
            return list(self.runs.values())
        old = [runs for at, runs in self._seen if at <= self.clock.mono() - self.lag_s]
        return old[-1] if old else []


def is_placeholder(run: Item) -> bool:
    """Tell whether a run only says that its task is pending."""
    return not (run.get("startedAt") or run.get("stoppedAt"))


def page(items: list[Item], query: dict[str, str]) -> list[Item]:
    """Return one page."""
    size = int(query.get("perPage", 30))
    start = (int(query.get("page", 1)) - 1) * size
    return [dict(item) for item in items[start : start + size]]
