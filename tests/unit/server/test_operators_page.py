"""The server's metrics and probes: what was done is counted, queues are counted without a scan."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.metrics import MOST_TYPES, OTHERS, bounded
from server.operators_page import KnownDepths, operators_page
from server.readiness import Readiness
from server.store.commands import UpdateJob
from server.store.records import Depth, Depths
from server.store.refusal import StoreFailed
from server.store.sql import reads
from server.store.sqlite.database import open_writer
from server.store.sqlite.dialect import SQLITE
from server.testing import TOKEN, RunningServer, running_server
from tests.postgres.databases import database
from tests.unit.server.world import FakeClock, opened

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
CLAIM = {"startedAt": "2026-01-02T03:04:05.678Z", "podId": "pod/a"}
Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """Serve from memory, and from PostgreSQL."""
    if request.param == "sqlite":
        with running_server() as running:
            yield running
        return
    with database() as url, running_server(url) as running:
        yield running


def ask(server: RunningServer, path: str) -> httpx.Response:
    """Ask the operators' page of a server."""

    async def get() -> httpx.Response:
        page = operators_page(server.app, lambda: 7, None)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(page), base_url="http://page") as client:
            return await client.get(path)

    return server.call(get())


def samples(server: RunningServer) -> Samples:
    """Return the server's metrics by name and values of labels."""
    text = ask(server, "/metrics").text
    return {
        (sample.name.removeprefix("millhand_server_"), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everything_that_happened_is_counted(server: RunningServer) -> None:
    """Requests by operation and status, claims, queues by type, polls that wait, writes."""
    with httpx.Client(base_url=server.url, headers=HEADERS) as client:
        job = client.post("/api/jobs", json={"type": "a"}).json()[0]["id"]
        tasks = [
            client.post("/api/jobs/tasks", json={"jobId": job, "type": type_}).json()["id"]
            for type_ in ("a", "a", "a", 'b"\n')
        ]
        assert client.post("/api/jobs/runs", json={"taskId": tasks[0], **CLAIM}).status_code == 200
        lost = client.post("/api/jobs/runs", json={"taskId": tasks[0], **CLAIM, "podId": "pod/b"})
        assert lost.status_code == 409
        client.get("/api/jobs/tasks?runStatus=pending", headers={"Prefer": "wait=5"})
        client.get("/nowhere")
    found = samples(server)
    assert found["request_seconds_count", ("create_task", "200")] == 4
    assert found["request_seconds_count", ("create_run", "409")] == 1
    assert found["request_seconds_count", ("wait_for_tasks", "200")] == 1
    assert found["request_seconds_count", ("beside_the_api", "404")] == 1
    assert (found["claims_total", ("won",)], found["claims_total", ("lost",)]) == (1, 1)
    assert (found["tasks_pending", ("a",)], found["tasks_pending", ('b"\n',)]) == (2, 1)
    assert found["tasks_oldest_seconds", ("a",)] >= 0
    assert found["tasks_running", ()] == 1
    assert found["store_write_seconds_count", ()] >= 7
    for name, value in (
        ("connections", 7), ("waiting_polls", 0), ("requests_under_way", 0), ("bodies_bytes", 0),
        ("draining", 0), ("leases_expired_total", 0), ("connections_refused_total", 0),
        ("audit_lines_lost_total", 0),
    ):  # fmt: skip
        assert found[name, ()] == value, name
    assert found["process_resident_memory_bytes", ()] > 1_000_000
    assert any(name == "info" for name, _ in found)


def test_no_metric_names_an_organisation_a_token_or_an_id(server: RunningServer) -> None:
    """It tells how much there is, and nothing of whose."""
    with httpx.Client(base_url=server.url, headers=HEADERS) as client:
        job = client.post("/api/jobs", json={"type": "a", "title": "whose"}).json()[0]
        client.post("/api/jobs/tasks", json={"jobId": job["id"]})
    text = ask(server, "/metrics").text
    for secret in (job["id"], job["orgId"], job["createdBy"], "whose", TOKEN):
        assert secret not in text


def test_runs_whose_lease_expired_are_counted() -> None:
    """Each one that the reaper stops."""
    with running_server(lease_s=0.2) as server, httpx.Client(base_url=server.url, headers=HEADERS) as client:
        job = client.post("/api/jobs", json={"type": "a"}).json()[0]["id"]
        task = client.post("/api/jobs/tasks", json={"jobId": job}).json()["id"]
        claim = {"taskId": task, **CLAIM}
        client.post("/api/jobs/runs", json=claim, headers={"Millhand-Agent": "pod/a"}).raise_for_status()
        waits = {"Prefer": "wait=20"}
        client.get("/api/jobs/tasks?runStatus=pending", headers=waits, timeout=30).raise_for_status()
        assert samples(server)["leases_expired_total", ()] == 1


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (reads.count_pending(SQLITE, has_hidden=False), "tasks_claimable_by_type"),
        (reads.count_pending(SQLITE, has_hidden=True), "tasks_claimable_by_type"),
        (reads.count_running(SQLITE), "tasks_running"),
    ],
)
def test_queues_are_counted_along_an_index_of_such_tasks_alone(
    tmp_path: Path, statement: str, index: str
) -> None:
    """However many tasks have stopped, none of them is read."""

    async def make() -> None:
        async with opened(f"sqlite:///{tmp_path / 'jobs.db'}"):
            pass

    asyncio.run(make())
    with sqlite3.connect(tmp_path / "jobs.db") as db:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
    db.close()
    walks = [step for step in plan if "tasks" in step or " t " in step or step.endswith(" t")]
    assert walks
    assert all(step.endswith(f"INDEX {index}") for step in walks), plan


def test_tasks_of_a_paused_job_are_in_no_queue() -> None:
    """Nobody may claim them; all organisations are counted together."""

    async def scene() -> tuple[Depths, Depths]:
        async with opened() as world:
            job = await world.job()
            for _ in range(3):
                await world.task(job)
            before = await world.store.depths()
            await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state="paused"))
            return before, await world.store.depths()

    before, after = asyncio.run(scene())
    assert [one.tasks for one in before.pending] == [3]
    assert (after.pending, after.running) == ((), 0)


def test_types_beyond_a_hundred_are_counted_together() -> None:
    """Clients choose types; each would be a series of the monitoring for ever."""
    depths = tuple(Depth(type=f"t{n}", tasks=n + 1, oldest_at=n) for n in range(MOST_TYPES + 3))
    shown = bounded(depths)
    assert len(shown) == MOST_TYPES + 1
    assert shown[-1] == Depth(type=OTHERS, tasks=1 + 2 + 3, oldest_at=0)
    assert sum(one.tasks for one in shown) == sum(one.tasks for one in depths)


class CountedStore:
    """A store that counts how often it is looked at."""

    def __init__(self) -> None:
        """Nobody has looked yet."""
        self.looks = 0
        self.failure: Exception | None = None

    async def check_writable(self) -> None:
        """Count, and fail if told to."""
        self.looks += 1
        if self.failure is not None:
            raise self.failure

    async def depths(self) -> Depths:
        """Count, and fail if told to."""
        await self.check_writable()
        return Depths(pending=(), running=0)


def test_many_who_ask_cost_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe of anybody is not a write each; a scrape of anybody not a count each."""

    async def scene() -> None:
        store: Any = CountedStore()
        readiness, known = Readiness(store, FakeClock()), KnownDepths(store)
        assert [*await asyncio.gather(*(readiness.reason() for _ in range(20)))] == [None] * 20
        assert store.looks == 1
        await asyncio.gather(*(known.depths() for _ in range(20)))
        assert store.looks == 2

    asyncio.run(scene())


def test_a_database_that_fails_is_not_ready_and_a_second_later_it_may_be_again() -> None:
    """The reason is told; the metrics that need no database are there still."""

    async def scene() -> None:
        store: Any = CountedStore()
        clock = FakeClock()
        readiness = Readiness(store, clock)
        store.failure = StoreFailed("the disk is full")
        assert "the disk is full" in str(await readiness.reason())
        assert await KnownDepths(store).depths() is None
        store.failure = None
        clock.advance(1)
        assert await readiness.reason() is None

    asyncio.run(scene())


def test_probes_say_when_the_server_ends(server: RunningServer) -> None:
    """On both ports: alive, and not ready."""
    assert ask(server, "/readyz").status_code == 200
    server.call(stop(server))
    for answer in (ask(server, "/readyz"), httpx.get(f"{server.url}/readyz")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert ask(server, "/healthz").status_code == 200
    assert samples(server)["draining", ()] == 1


async def stop(server: RunningServer) -> None:
    """Tell the application that the server ends."""
    server.app.stop()


def test_a_schema_that_a_newer_program_changed_is_not_ready(tmp_path: Path) -> None:
    """This one does not know what its writes would mean there."""
    path = tmp_path / "jobs.db"
    with running_server(f"sqlite:///{path}") as server:
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        writer = open_writer(path)
        writer.execute("INSERT INTO schema_version VALUES (99, '0099_future.sql', 1)")
        writer.close()
        server.app.readiness._looked_mono = None  # look again at once
        answer = httpx.get(f"{server.url}/readyz")
        assert answer.status_code == 503
        assert "schema" in answer.json()["error"]["message"]


def test_metrics_are_not_on_the_port_of_the_api(server: RunningServer) -> None:
    """They tell of all organisations, and a token is of one."""
    assert httpx.get(f"{server.url}/metrics", headers=HEADERS).status_code == 404
    assert ask(server, "/api/jobs").status_code == 404


def test_what_scales_agents_asks_for_pending_tasks_of_its_types(server: RunningServer) -> None:
    """A type of which there is none is 0; without a type all are counted."""
    with httpx.Client(base_url=server.url, headers=HEADERS) as client:
        job = client.post("/api/jobs", json={"type": "render"}).json()[0]["id"]
        for type_ in ("render", "render", "render", "train", "train"):
            client.post("/api/jobs/tasks", json={"jobId": job, "type": type_}).raise_for_status()
    for query, pending in (("", 5), ("?type=render", 3), ("?type=train&type=render", 5), ("?type=bake", 0)):
        assert ask(server, f"/pending{query}").json() == {"pending": pending}


def test_how_much_is_pending_is_never_guessed(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 0 would have every agent taken away; what scales keeps what is there on an error."""

    async def fail() -> Depths:
        raise StoreFailed("no")

    monkeypatch.setattr(server.app.store, "depths", fail)
    assert ask(server, "/pending").status_code == 503
