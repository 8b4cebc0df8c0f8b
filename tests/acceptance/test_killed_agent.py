"""A real agent is killed with SIGKILL while a run is going; its next life takes the task up again."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

from server.testing import running_server
from tests.acceptance.agents import running_agent, start_agent
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig

LIMIT_S = 60.0  # a bound for a hang, not a measure
HANDLER = '''
"""A handler that waits until a file is there."""
import os, subprocess, time
from pathlib import Path
from worker import Context, handler

@handler("wait")
def wait(ctx: Context, *, file: str) -> dict:
    """Start a daemon, tell the pids, then wait."""
    daemon = subprocess.Popen(["setsid", "sleep", "1000"], env={})
    part = Path(file + ".part")
    part.write_text(f"{os.getpid()} {daemon.pid}")
    part.rename(file + f".{ctx.attempt}")
    while not Path(file).exists():
        time.sleep(0.01)
    return {"attempt": ctx.attempt}
'''


async def until(condition: Any) -> Any:
    """Wait until something holds; return it."""
    give_up_mono = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < give_up_mono, "it did not come about"
        await asyncio.sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def runs_of(api: JobsApi, task_id: str) -> list[dict[str, Any]]:
    """Return the runs of a task, oldest first."""
    return [run.raw for run in await api.list_runs(task_id=task_id)]


def test_a_killed_agents_task_is_closed_requeued_and_finished_by_its_next_life(tmp_path: Path) -> None:
    """The whole tree dies with its agent; the lost run says so; the second attempt succeeds."""
    (tmp_path / "own.py").write_text(HANDLER)
    signal_file = tmp_path / "go"
    settings = {"MILLHAND_HANDLERS": str(tmp_path / "own.py")}

    async def main() -> list[dict[str, Any]]:
        with running_server() as server:
            async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
                job = await api.create_job({"type": "wait"})
                body = {"jobId": job.id, "type": "wait", "parameters": {"file": str(signal_file)}}
                task = await api.create_task(body)
                first = start_agent(tmp_path / "agent", server.url, server.token, slots=1, settings=settings)
                try:
                    pids = [int(pid) for pid in (await until(lambda: read(tmp_path / "go.1"))).split()]
                    assert [pid for pid in pids if not is_alive(pid)] == []
                finally:
                    first.send_signal(signal.SIGKILL)
                    first.wait(LIMIT_S)
                await until(lambda: not any(is_alive(pid) for pid in pids))
                with running_agent(tmp_path / "agent", server.url, server.token, slots=1, settings=settings):
                    await until(lambda: read(tmp_path / "go.2"))
                    signal_file.touch()
                    await asyncio.wait_for(until_success(api, task.id), LIMIT_S)
                return await runs_of(api, task.id)

    runs = asyncio.run(main())
    errors = [(run["resultCode"], (run["error"] or "").partition(":")[0]) for run in runs]
    assert sorted(errors) == [("Failed", "requeued"), ("Failed", "worker_lost"), ("Success", "")]
    lost = next(run for run in runs if run["error"] and run["error"].startswith("worker_lost"))
    assert lost["results"]["usage"]["complete"] is False
    done = next(run for run in runs if run["resultCode"] == "Success")
    assert done["results"]["attempt"] == 2
    assert list((tmp_path / "agent" / "state" / "runs").iterdir()) == []


def read(path: Path) -> str:
    """Return what a file holds; nothing while it is not there."""
    return path.read_text() if path.exists() else ""


async def until_success(api: JobsApi, task_id: str) -> None:
    """Wait until the task shows a success."""
    while (await api.get_task(task_id)).run_result != "Success":  # noqa: ASYNC110 - asks a server
        await asyncio.sleep(0.05)
