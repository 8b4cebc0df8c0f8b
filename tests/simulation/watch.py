"""What must hold at every step of a history, looked at whenever server, journal or stage change."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from tests.simulation.server import Item, VirtualServer
from worker.api.ids import requeue_run_id
from worker.api.wire import parse_instant
from worker.reporting.entry_state import outcome_of
from worker.reporting.records import Entry

__all__ = ["Watch"]

DRIFT: Final = 0.03  # of an agent's clock against the server's
REQUEUED: Final = frozenset({"drained", "preempted", "worker_lost"})  # ends after which a task goes on
FOUND_MAX: Final = 20  # then it is clear enough


class Watch:
    """Look on, and note what is broken, with the time.

    What servers break by themselves that give or replace ids is not held against the agent: of them
    only the stage and the end of a history tell.
    """

    def __init__(self, server: VirtualServer) -> None:
        """Look at a server that has no runs yet."""
        self.found: list[str] = []
        self._told = hashlib.blake2b(digest_size=8)
        self._server = server
        self._ended: dict[str, tuple[Any, ...]] = {}  # runs that were seen stopped, and how
        self._waits: dict[str, float] = {}  # seconds that each placeholder waits, as known when it came
        self._kept: dict[str, dict[str, Entry]] = {}  # outcomes that are promised to be on disk, by machine

    @property
    def _is_keyed(self) -> bool:
        return self._server.ids == "key"

    @property
    def digest(self) -> str:
        """What tells a history from others: all that the server was asked, when, and what it said."""
        return self._told.hexdigest()

    def served(self, method: str, path: str, status: int) -> None:
        """Look at the runs after a request."""
        at_s = asyncio.get_running_loop().time()
        self._told.update(f"{at_s:.6f} {method} {path} {status}\n".encode())
        if method == "GET" or not self._is_keyed:
            return
        live: set[str] = set()
        for run in self._server.runs.values():
            if not run["startedAt"] and run["id"] not in self._waits:
                self._waits[run["id"]] = self._told_wait_s(run)
            if run["stoppedAt"]:
                self._see_ended(run)
            elif run["startedAt"] and requeue_run_id(run["id"]) not in self._server.runs:
                if run["taskId"] in live:
                    self._break(f"{run['taskId']} has two live runs")
                live.add(run["taskId"])

    def _see_ended(self, run: Item) -> None:
        end = (run["stoppedAt"], run.get("resultCode"), run["podId"], run["startedAt"])
        seen = self._ended.get(run["id"])
        if seen == end:
            return
        self._ended[run["id"]] = end
        if seen is not None and not self._server.was_late(run["id"]):
            self._break(f"the end of run {run['id']} was changed: {seen} to {end}")
        wait_s, placeholder_id = wait_in(run) or 0.0, requeue_run_id(run["id"])
        is_late = (
            self._server.is_leasing
        )  # the server's own placeholder comes before it is known how a run ended
        if wait_s > self._waits.get(placeholder_id, wait_s) and not is_late:
            self._break(f"run {run['id']} waits {wait_s} s, which was told after its task was pending")
        kind = str(run.get("error") or "").partition(":")[0]
        placeholder = requeue_run_id(run["id"])
        if kind in REQUEUED and placeholder not in self._server.runs and self._server.job_state == "active":
            self._break(f"run {run['id']} stopped as {kind}, and its task is seen failed")

    def _told_wait_s(self, placeholder: Item) -> float:
        """Return the wait that stands with a placeholder, or with the run that it follows."""
        runs = {requeue_run_id(run["id"]): run for run in self._server.runs_of(placeholder["taskId"])}
        told = (wait_in(placeholder), wait_in(runs.get(placeholder["id"], {})))
        return next((wait_s for wait_s in told if wait_s is not None), 0.0)

    def _see_wait(self, run: Item) -> None:
        """Look whether a run began before the wait of its task was over, by the server's times."""
        earlier = [one for one in self._server.runs_of(run["taskId"]) if one["createdAt"] < run["createdAt"]]
        if earlier and not earlier[-1]["startedAt"]:
            wait_s = self._waits.get(earlier[-1]["id"], 0.0)
            waited = parse_instant(run["createdAt"]), parse_instant(earlier[-1]["createdAt"])
            assert waited[0] is not None
            assert waited[1] is not None
            waited_s = (waited[0] - waited[1]).total_seconds()
            if waited_s < wait_s * (1.0 - DRIFT) - 0.001:
                self._break(f"run {run['id']} began {waited_s:.3f} s after a failure, not {wait_s} s")

    def started(self, run_id: str, machine: str) -> None:
        """Look at a run whose handler starts."""
        run = self._server.runs.get(run_id)
        if self._is_keyed and run is not None:
            self._see_wait(run)
        if not self._is_keyed or self._server.is_leasing:
            return
        if run is None or run["stoppedAt"] or not str(run["podId"]).startswith(machine):
            self._break(f"{machine} starts run {run_id}, which is not its own")

    def written(self, machine: str, entry: Entry) -> None:
        """Know that a journal promised to have an outcome on disk."""
        self._kept.setdefault(machine, {})[entry.run_id] = entry

    def closed(self, machine: str, entry: Entry) -> None:
        """Look at the run of an entry that a journal lets go."""
        self._kept.get(machine, {}).pop(entry.run_id, None)
        if not self._is_keyed:
            return
        run = self._server.runs.get(entry.run_id)
        if (outcome := outcome_of(entry)) is None:
            is_ours = run is not None and (run["podId"], run["startedAt"]) == (entry.pod_id, entry.started_at)
            if is_ours and run is not None and not run["stoppedAt"]:
                self._break(f"{machine} forgets its live run {entry.run_id}")
        elif run is None or not run["stoppedAt"] or run.get("resultCode") != outcome["resultCode"]:
            self._break(f"{machine} forgets the outcome of run {entry.run_id} before the server has it")

    def opened(self, machine: str, entries: Mapping[str, Entry]) -> None:
        """Look at what an agent finds on its disk."""
        for run_id, entry in self._kept.get(machine, {}).items():
            if run_id not in entries or outcome_of(entries[run_id]) != outcome_of(entry):
                self._break(f"{machine} has lost the outcome of run {run_id}")

    def at_end(self, machine: str, entries: Mapping[str, Entry]) -> None:
        """Look at what stays in a journal when all is done: only what a person must really see."""
        for entry in entries.values():
            run = self._server.runs.get(entry.run_id)
            outcome = outcome_of(entry) or {}
            is_told = run is not None and run.get("resultCode") == outcome.get("resultCode")
            if is_told and run is not None and run["stoppedAt"] == outcome.get("stoppedAt"):
                self._break(f"{machine} keeps run {entry.run_id} for a person, though the server has it")
            if self._is_keyed and not self._server.is_leasing:
                self._break(f"{machine} keeps run {entry.run_id}: {entry.marks}")

    def _break(self, what: str) -> None:
        if len(self.found) < FOUND_MAX:
            self.found.append(f"{asyncio.get_running_loop().time():.3f} s: {what}")


def wait_in(run: Item) -> float | None:
    """Return the wait that a run or placeholder tells."""
    wait_s: float | None = ((run.get("results") or {}).get("retry") or {}).get("afterS")
    return wait_s
