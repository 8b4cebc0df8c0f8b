"""A virtual server that claims tasks for the offers of agents that wait, as ours does.

More eagerly than ours: it gives any task that never ran, not only one that is made meanwhile.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from msgspec import Struct

from tests.simulation.leases import LeasingServer
from tests.simulation.server import Item, Reply
from worker.api.ids import claim_run_id
from worker.api.wire import OFFERS_HEADER, format_instant, parse_instant

__all__ = ["OfferingServer"]

FORGETS: Final = 0.1  # of offers come to a replica that has not seen the last one


class Newest(Struct):
    """The newest offer of an agent."""

    id: str
    started_at: Any
    run_id: str | None = None


class OfferingServer(LeasingServer):
    """Leases, and offers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Begin without offers."""
        super().__init__(*args, **options)
        self._newest: dict[str, Newest] = {}
        self.offered = 0  # runs that were claimed for offers

    def headers(self, value: Any) -> dict[str, str]:
        """Return what an answer says beside its body."""
        if not isinstance(value, dict) or "tasks" not in value:
            return super().headers(value)
        return super().headers(value.get("run", value)) | {OFFERS_HEADER: "1"}

    def has_for_offer(self) -> bool:
        """Tell whether an offer would be answered at once."""
        return bool(self.pending())

    def handle(self, method: str, path: str, query: dict[str, str], body: Item) -> Reply:
        """Answer one request; an offer at once."""
        if path != "/api/offers":
            return super().handle(method, path, query, body)
        self.asked.append(f"{method} {path}")
        self._reap()
        return self._offer(query, body)

    def _offer(self, query: dict[str, str], body: Item) -> Reply:
        pod_id, started_at = body["podId"], parse_instant(body["startedAt"])
        last = None if self.random.random() < FORGETS else self._newest.get(pod_id)
        offer = Newest(body["id"], started_at)
        if last is not None and not follows(offer, last):
            return 409, {"error": {"code": "offer_outdated", "message": "a younger one was here"}}
        self._newest[pod_id] = offer
        if last is not None and last.id == offer.id and last.run_id is not None:
            offer.run_id = last.run_id
            run = self.runs[last.run_id]
            return 200, {"tasks": []} if run["stoppedAt"] else self._told(run)
        if query.get("wait") is None:
            return 200, {"tasks": []}
        return 200, self._give(offer, body, float(query.get("waited", 0.0)))

    def _give(self, offer: Newest, body: Item, waited_s: float) -> Item:
        """Claim a task that never ran, and whose job is active; else show what is pending."""
        known = {run["taskId"] for run in self.runs.values()}
        new = [task for task in self.pending() if task["id"] not in known]
        if not new or self.job_state != "active":
            return {"tasks": [dict(task) for task in self.pending()]}
        task = self.random.choice(new)
        run = {name: value for name, value in body.items() if name != "id"}
        began = offer.started_at + timedelta(seconds=waited_s)
        run |= {"id": claim_run_id(task["id"]), "taskId": task["id"], "startedAt": format_instant(began)}
        status, made = self._create(run)
        assert status == 200, made
        self._grant(made)
        self.offered += 1
        offer.run_id = made["id"]
        return self._told(made)

    def _told(self, run: Item) -> Item:
        return {"tasks": [dict(self.tasks[run["taskId"]])], "run": dict(run)}


def follows(offer: Newest, last: Newest) -> bool:
    """Tell whether an offer is the last one, once more, or a younger one."""
    if offer.id == last.id:
        return bool(offer.started_at >= last.started_at)
    return bool(offer.started_at > last.started_at)
