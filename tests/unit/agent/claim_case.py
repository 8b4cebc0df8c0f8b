"""One claim in virtual time, against a server in few lines whose answers may be replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import httpx

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.stub_api import Answer, Request, StubApi, error, task
from tests.unit.reporting.memory import MemoryIO
from worker.agent.claim import Claim, Claimer
from worker.agent.deferrals import Deferrals
from worker.agent.election import Elections
from worker.agent.identity import Identities
from worker.agent.server_kind import ServerKind
from worker.agent.wire_run import RunWire
from worker.api.errors import ApiError
from worker.api.retry import Retrier
from worker.reporting.journal import Journal

SETTLE_S = 1.0
AT = "2026-01-01T00:00:00.000Z"
LOST = httpx.ReadTimeout("the answer got lost")
INGRESS: Answer = (404, "<html>no backend</html>")


class Shelf:
    """A server in few lines; the next answers to each method may be replaced, with or without effect."""

    def __init__(self, *, gives_ids: bool = False, overwrites: bool = False) -> None:
        """Keep runs by id."""
        self.runs: dict[str, dict[str, Any]] = {}
        self.instead: dict[str, list[tuple[bool, Answer | None]]] = {"GET": [], "POST": [], "PUT": []}
        self.gives_ids, self.overwrites = gives_ids, overwrites
        self.is_blind = False  # reads show nothing yet

    def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        is_done, answer = (
            self.instead[request.method].pop(0) if self.instead[request.method] else (True, None)
        )
        real = self.handle(request) if is_done else None
        return answer or real or LOST

    def handle(self, request: Request) -> Answer:
        """Do what is asked."""
        if request.method == "POST":
            return self.create(request.body)
        if request.path.endswith("/runs"):
            return 200, {"runs": [] if self.is_blind else list(self.runs.values())}
        run = self.runs.get(request.path.rpartition("/")[2])
        if run is None or (self.is_blind and request.method == "GET"):
            return 404, error("run_not_found")
        if request.method == "PUT":
            if run.get("stoppedAt"):
                return 409, error("run_stopped")
            run.update(request.body)
        return 200, run

    def create(self, body: dict[str, Any]) -> Answer:
        """Create a run."""
        id_ = f"server-{len(self.runs)}" if self.gives_ids else body["id"]
        if id_ in self.runs and not self.overwrites:
            return 409, error("create_run_error")
        at = f"2026-01-01T00:00:{len(self.runs):02d}.000Z"
        self.runs[id_] = {"stoppedAt": None, "createdAt": at, **body, "id": id_}
        return 200, self.runs[id_]

    @property
    def live(self) -> list[str]:
        """Return the ids of the runs that are started and not stopped."""
        return [id_ for id_, run in self.runs.items() if run.get("startedAt") and not run["stoppedAt"]]


class Desk:
    """What a claim brought: the claim or an error, what the journal holds, what kind was found."""

    claim: Claim | None = None
    error: ApiError | None = None
    entries: Sequence[str] = ()
    kinds: list[ServerKind]


def claimed(
    answer: Callable[[Request], Answer], kind: ServerKind, while_claiming: Callable[[], None] = lambda: None
) -> tuple[Desk, StubApi]:
    """Claim a task; `while_claiming` is called after ten seconds."""
    stub, desk = StubApi(answer), Desk()
    desk.kinds = []

    async def main() -> None:
        clock = VirtualClock()
        journal = await Journal.open(MemoryIO(), clock)
        runs = RunWire(stub.api, Retrier(Random(1), clock), clock, Random(1), dict)
        identities = Identities("pod/a", clock)
        ids = iter(f"random-{at}" for at in range(9))
        elections = Elections(runs, journal, identities, new_id=lambda: next(ids), settle_s=SETTLE_S)
        claimer = Claimer(
            runs, journal, identities, elections, Deferrals(clock), kind=kind, on_kind=desk.kinds.append
        )
        asyncio.get_running_loop().call_later(10.0, while_claiming)
        try:
            async with asyncio.timeout(3600.0):
                desk.claim = await claimer.claim(task())
        except ApiError as error:
            desk.error = error
        desk.entries = list(journal.entries)

    run_virtual(main())
    return desk, stub
