"""A real agent whose store is away when its run ends: killed meanwhile, started again, stored."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

from server.testing import running_server
from tests.acceptance.agents import running_agent, start_agent
from tests.unit.storage.samples import put_server
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig

LIMIT_S = 60.0  # a bound for a hang, not a measure
CONTENT = "a file of the run"
HANDLERS = f'''
"""One handler that makes a file, one that makes none."""
from pathlib import Path
from worker import Context, handler

@handler("make")
def make(ctx: Context, *, book: str) -> dict:
    """Note that it ran, and hand over a file."""
    with Path(book).open("a") as file:
        file.write("ran\\n")
    (ctx.workdir / "made.txt").write_text({CONTENT!r})
    ctx.artifact("made.txt", name="deep/made.txt")
    return {{"made": 1}}

@handler("nothing")
def nothing(ctx: Context) -> dict:
    """Make nothing."""
    return {{}}
'''


async def until(condition: Any) -> Any:
    """Wait until something that asks a server holds; return it."""
    give_up_mono = time.monotonic() + LIMIT_S
    while not (found := await condition()):
        assert time.monotonic() < give_up_mono, "it did not come about"
        await asyncio.sleep(0.05)
    return found


async def run_of(api: JobsApi, task_id: str, is_it: Any) -> dict[str, Any] | None:
    """Return the run of a task, once it is as wanted."""
    runs = await api.list_runs(task_id=task_id)
    return runs[0].raw if len(runs) == 1 and is_it(runs[0].raw) else None


async def task_of(api: JobsApi, type_: str, **parameters: Any) -> str:
    """Create a task; return its id."""
    job = await api.create_job({"type": type_})
    return (await api.create_task({"jobId": job.id, "type": type_, "parameters": parameters})).id


def test_a_store_that_is_away_and_an_agent_that_is_killed_lose_no_file(tmp_path: Path) -> None:
    """The slot is free at once, the run stays running and says why; the next life stores and tells it."""
    (tmp_path / "own.py").write_text(HANDLERS)
    with put_server() as server:
        port = server.server_port
    settings = {
        "MILLHAND_HANDLERS": str(tmp_path / "own.py"),
        "MILLHAND_STORE": f"http://ada:geheim@127.0.0.1:{port}/files",
        "MILLHAND_REPORT_INTERVAL": "0.2s",
    }
    book = tmp_path / "book"

    async def main() -> dict[str, Any]:
        with running_server() as api_server:
            url, token = api_server.url, api_server.token
            async with open_api(ApiConfig(url=url, token=token)) as api:
                made = await task_of(api, "make", book=str(book))
                first = start_agent(tmp_path / "agent", url, token, slots=1, settings=settings)
                try:
                    await until(lambda: run_of(api, made, is_waiting))
                    nothing = await task_of(api, "nothing")
                    await until(lambda: run_of(api, nothing, is_success))
                finally:
                    first.send_signal(signal.SIGKILL)
                    first.wait(LIMIT_S)
                assert await run_of(api, made, lambda run: run["stoppedAt"] is None)
                with (
                    put_server(port) as store,
                    running_agent(tmp_path / "agent", url, token, slots=1, settings=settings),
                ):
                    run: dict[str, Any] = await until(lambda: run_of(api, made, is_success))
                    assert store.files[f"/files/{run['id']}/deep/made.txt"] == CONTENT.encode()
                return run

    run = asyncio.run(main())
    file = next(file for file in run["results"]["files"] if file["name"] == "deep/made.txt")
    assert file["url"] == f"http://127.0.0.1:{port}/files/{run['id']}/deep/made.txt"
    assert file["size"] == len(CONTENT)
    assert run["results"]["made"] == 1
    assert book.read_text() == "ran\n", "the handler ran once"
    assert list((tmp_path / "agent" / "state" / "spool").iterdir()) == []
    assert "geheim" not in (tmp_path / "agent" / "agent.log").read_text()


def is_waiting(run: dict[str, Any]) -> bool:
    """Tell whether a run says that it waits for the store."""
    return "files are not stored yet" in ((run["results"] or {}).get("message") or "")


def is_success(run: dict[str, Any]) -> bool:
    """Tell whether a run succeeded."""
    return bool(run["resultCode"] == "Success")
