"""The page of a large job in a real Chromium: until it is seen, and until a change of the job is."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from msgspec import Struct

from server.dashboard.orders import ORDERS
from server.store.choice import store_for
from server.store.commands import CreateToken, EnsureOrganisation
from server.tokens import ADMIN, hash_token
from tests.bench.figure import Figure, percentile
from tests.bench.proc import cpu_of_living_s
from tests.bench.stores import ORG, Database, databases
from tests.bench.world import Server, running_server
from tests.real.pages import Window, window

__all__ = ["measure_dashboard"]

JOB: Final = "fill"
TOKEN: Final = "bench-token-of-a-browser"
LOOKS: Final = 20  # of each kind
RUNNING: Final = 200
KINDS: Final = ("SQLite", "PostgreSQL")

# Of the tasks that `Database.fill` made, in the order of their numbers, which stand in updated_at.
RUNS: Final = """
INSERT INTO runs (org_id, id, task_id, job_id, created_by, created_at, updated_at, started_at, stopped_at,
                  result_code, error, pod_id, report_progress)
SELECT 'bench', 'run-' || id, id, job_id, 'bench', {now} - 900000, {now}, {now} - 900000,
       CASE WHEN updated_at <= {failed} THEN {now} - 900000 + (updated_at * 7919) % 60000 END,
       CASE WHEN updated_at <= {succeeded} THEN 'Success' WHEN updated_at <= {failed} THEN 'Failed' END,
       CASE WHEN updated_at > {succeeded} AND updated_at <= {failed}
            THEN 'handler_error: ValueError: frame ' || updated_at || ' has no camera in scene '
                 || CAST(updated_at % 7 AS TEXT) END,
       'pod/bench', TRUE
FROM tasks WHERE org_id = 'bench' AND job_id = 'fill' AND updated_at <= {running}"""
TASKS: Final = """
UPDATE tasks SET current_run_id = 'run-' || id,
    run_status = CASE WHEN updated_at <= {failed} THEN 'stopped' ELSE 'running' END,
    run_result = CASE WHEN updated_at <= {succeeded} THEN 'Success'
                      WHEN updated_at <= {failed} THEN 'Failed' END
WHERE org_id = 'bench' AND job_id = 'fill' AND updated_at <= {running}"""
COUNTS: Final = """
UPDATE job_counters SET pending = {tasks} - {running}, running = {running} - {failed}, stopped = {failed},
    failures = {failed} - {succeeded}, successes = {succeeded}, progress = {failed} * 1000000.0
WHERE org_id = 'bench' AND job_id = 'fill'"""

# What an open page does with what the server sends, timed: ask, take over, lay out.
UPDATE: Final = """
window.took = null;
(async () => {
  const asked = performance.now();
  const answer = await (await fetch(location.href, {cache: "no-store"})).text();
  const told = performance.now();
  const html = new DOMParser().parseFromString(answer, "text/html").getElementById("main").innerHTML;
  const taken = performance.now();
  const main = document.getElementById("main");
  main.innerHTML = html;
  main.getBoundingClientRect();
  window.took = [told - asked, performance.now() - taken];
})();
null"""
PAINTED: Final = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
DRAWN: Final = (
    "performance.getEntriesByType('resource').find((one) => one.name.endsWith('.png'))?.responseEnd"
)


def measure_dashboard(folder: Path, tasks: int) -> list[Figure]:
    """Look at a job with so many tasks on each store that can be had here; `folder` is on a disk."""
    if (program := shutil.which("chromium")) is None:
        return [Figure(name="dashboard", value=None, unit="", note="there is no Chromium here")]
    figures: list[Figure] = []
    for kind in KINDS:
        with databases(folder, kind) as database:
            if database is None:
                figures.append(
                    Figure(name=f"{kind}, dashboard", value=None, unit="", note="is not installed here")
                )
                continue
            asyncio.run(_let_in(database.url))
            _fill(database, tasks)
            with running_server(folder, database) as (server, _), _changing(server.url) as change:
                for order in ORDERS:
                    with _browser(program, folder, server.url) as page:
                        note = f"{tasks:,} tasks, {ORDERS[order]}"
                        figures += _look(Looked(kind, note, server, page, change), order)
    return figures


async def _let_in(url: str) -> None:
    """Make the organisation of the job, and a token for who looks."""
    store = store_for(url)
    await store.start(lambda _: None)
    try:
        await store.apply(EnsureOrganisation(id=ORG, name=ORG))
        scopes = frozenset({ADMIN})
        await store.apply(CreateToken(id="browser", org_id=ORG, sha256=hash_token(TOKEN), scopes=scopes))
    finally:
        await store.close()


def _fill(database: Database, tasks: int) -> None:
    """Make the job: half of it succeeded, a fifth failed, some run, the rest waits."""
    succeeded, failed = tasks // 2, tasks // 2 + tasks // 5
    given = {"tasks": tasks, "succeeded": succeeded, "failed": failed, "running": failed + RUNNING}
    database.fill(JOB, tasks)
    now = int(time.time() * 1000)
    database.execute([statement.format(**given, now=now) for statement in (RUNS, TASKS, COUNTS)])


class Looked(Struct, frozen=True):
    """What is looked at, and how."""

    kind: str
    note: str
    server: Server
    page: Window
    change: Callable[[], None]

    def spread(self, name: str, values: list[float]) -> Iterator[Figure]:
        """Return the middle and the worst of values."""
        for ratio in (0.5, 1.0):
            yield self.figure(f"{name}, p{ratio * 100:.0f}", percentile(values, ratio))

    def figure(self, name: str, value: float | None) -> Figure:
        """Return milliseconds."""
        return Figure(name=f"{self.kind}, {name}", value=value, unit="ms", note=self.note)


def _look(at: Looked, order: str) -> list[Figure]:
    """Load the page again and again, then have it follow changes of the job."""
    seen, drawn, updates, shown = [], [], [], []
    for _ in range(LOOKS):
        at.change()
        at.page.go(f"{at.server.url}/ui/jobs/{JOB}?order={order}")
        at.page.until(f"{PAINTED} && {DRAWN}")
        seen.append(float(at.page.run(PAINTED)))
        drawn.append(float(at.page.run(DRAWN)))
    before = cpu_of_living_s(at.server.pid)
    for _ in range(LOOKS):
        at.change()
        at.page.run(UPDATE)
        at.page.until("window.took")
        server_ms, browser_ms = at.page.run("window.took")
        updates.append(server_ms + browser_ms)
        shown.append(browser_ms)
    after = cpu_of_living_s(at.server.pid)
    cpu_ms = None if before is None or after is None else (after - before) * 1000 / LOOKS
    return [
        at.figure("first paint, when nobody has looked", seen[0]),
        *at.spread("first paint", seen[1:]),
        at.figure("its picture is there, p50", percentile(drawn[1:], 0.5)),
        *at.spread("an update, asked to laid out", updates),
        at.figure("an update, of that in the browser, p50", percentile(shown, 0.5)),
        at.figure("an update, CPU of the server, its picture too", cpu_ms),
    ]


@contextmanager
def _browser(program: str, folder: Path, url: str) -> Iterator[Window]:
    """Give a page of a fresh browser, on which somebody has signed in."""
    profile = folder / "profile"
    with window(program, profile) as page:
        page.look(1280)
        page.go(f"{url}/")
        page.type("#token", TOKEN)
        page.click("form button")
        yield page
    shutil.rmtree(profile, ignore_errors=True)


@contextmanager
def _changing(url: str) -> Iterator[Callable[[], None]]:
    """Give what changes the job: a report on one of its runs that live."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as http:
        query: dict[str, str | int] = {"jobId": JOB, "runStatus": "running", "perPage": 1}
        task = http.get("/api/jobs/tasks", params=query).raise_for_status().json()["tasks"][0]
        (run,) = http.get("/api/jobs/runs", params={"taskId": task["id"]}).raise_for_status().json()["runs"]
        steps = iter(range(1, 1_000_000))

        def change() -> None:
            body = {"startedAt": run["startedAt"], "podId": run["podId"], "progress": next(steps) / 1_000_000}
            http.put(f"/api/jobs/runs/{run['id']}", json=body).raise_for_status()

        yield change
