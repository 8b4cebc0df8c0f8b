"""A real agent whose minder is stopped (SIGSTOP) in the middle of a run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Final

import httpx

from server.testing import running_server
from tests.acceptance.agents import running_agent
from tests.chaos.waits import LIMIT_S, until
from tests.integration.ports import free_port
from worker.api.connect import open_api
from worker.config import ApiConfig
from worker.minder.trees import child_pids, read_stat

SHORT: Final = """
import worker.executor.pulse as pulse
pulse.SILENT_S = 1.0  # a minute for a test is long
from worker.cli.main import main
main()
"""
HANDLER: Final = '''
"""A handler that ends when it is told."""
import os, time
from pathlib import Path
from worker import Context, handler

@handler("slow")
def slow(ctx: Context, *, folder: str) -> int:
    """Say who minds it, and wait until a file is there."""
    (Path(folder) / f"{ctx.run_id}.minder").write_text(str(os.getppid()))
    while not (Path(folder) / "go").exists():
        time.sleep(0.05)
    return 7
'''


def test_a_stopped_minder_is_told_replaced_and_its_run_made_up_for(tmp_path: Path) -> None:
    """`/healthz` says `minder` until then; looks at it are all that finds it."""
    (tmp_path / "slow.py").write_text(HANDLER)
    (tmp_path / "short.py").write_text(SHORT)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -P {tmp_path}/short.py agent\n")
    python.chmod(0o755)
    port = free_port()
    settings = {
        "MILLHAND_HANDLERS": str(tmp_path / "slow.py"), "MILLHAND_TYPES": "slow",
        "MILLHAND_HTTP_PORT": str(port),
    }  # fmt: skip

    def minders() -> list[int]:
        return [int(text) for path in tmp_path.glob("*.minder") if (text := path.read_text())]

    async def health(client: httpx.AsyncClient) -> str:
        return (await client.get(f"http://127.0.0.1:{port}/healthz")).text

    async def healths() -> list[str]:
        """Look until there is another minder; return what was said."""
        said = []
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client, asyncio.timeout(LIMIT_S):
            while len(minders()) < 2:
                said.append(await health(client))
                await asyncio.sleep(0.2)
        return said

    async def scenario(url: str, token: str) -> tuple[list[str], list[str | None]]:
        async with open_api(ApiConfig(url=url, token=token)) as api:
            job = await api.create_job({"type": "slow"})
            parameters = {"folder": str(tmp_path)}
            task = await api.create_task({"jobId": job.id, "type": "slow", "parameters": parameters})
            with running_agent(
                tmp_path / "agent", url, token, slots=1, settings=settings, python=str(python)
            ) as agent:
                await until(minders, "the run does not start")
                [minder] = minders()
                assert minder in (child_pids(agent.pid) or ())
                async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client:
                    before = await health(client)
                os.kill(minder, signal.SIGSTOP)
                try:
                    said = [before, *await healths()]
                finally:
                    if read_stat(minder) is not None:  # else it would stay for ever
                        os.kill(minder, signal.SIGCONT)
                assert read_stat(minder) is None
                (tmp_path / "go").touch()
                async with asyncio.timeout(LIMIT_S):
                    while str((await api.get_task(task.id)).run_result) != "Success":  # noqa: ASYNC110 - elsewhere
                        await asyncio.sleep(0.1)
            return said, [run.error_kind for run in await api.list_runs(job_id=job.id)]

    with running_server() as server:
        said, kinds = asyncio.run(scenario(server.url, server.token))
    assert said[0] == "ok\n"
    assert "stuck: minder\n" in said
    assert set(kinds) == {"crashed", "requeued", None}
    assert "minder.silent" in (tmp_path / "agent" / "agent.log").read_text()
