"""A server that comes back after an outage long enough for the waits of results to have grown."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Final

from tests.acceptance.agents import running_agent
from tests.chaos.journals import Journal
from tests.chaos.processes import TOKEN
from tests.chaos.servers import Server
from tests.chaos.waits import until
from tests.integration.ports import free_port
from worker.api.connect import open_api
from worker.api.retry import APART_S, RETURN_S
from worker.config import ApiConfig

RUNS: Final = 8
POLL_S: Final = 1.0  # after which the agent sees that the server is back
TELL_S: Final = POLL_S + APART_S + RETURN_S  # in which all is told, on a machine that has time
FAR_S: Final = 3 * TELL_S  # so far ahead the next tries of two are when the server comes back
GROWN_S: Final = 600.0  # mostly half a minute
HANDLER: Final = '''
"""A handler that ends when it is told."""
import time
from pathlib import Path
from worker import Context, handler

@handler("slow")
def slow(ctx: Context, *, folder: str) -> int:
    """Wait until a file is there."""
    (Path(folder) / f"{ctx.run_id}.runs").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.05)
    return 7
'''


def next_tries_at(log: Path) -> list[float]:
    """Return when requests of runs are to be made again, by what the agent has logged; the last one last."""
    lines = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    waits = [line for line in lines if line["event"] == "request.repeated"]
    return sorted({line["run_id"]: seconds(line["at"]) + line["wait_s"] for line in waits}.values())


def seconds(at: str) -> float:
    """Return a moment as `time.time` does."""
    return datetime.fromisoformat(at).timestamp()


def test_all_results_are_told_within_seconds_of_the_servers_return(tmp_path: Path) -> None:
    """As soon as one poll is answered: all of them before the next try of two had come by itself."""
    (tmp_path / "slow.py").write_text(HANDLER)
    settings = {
        "MILLHAND_HANDLERS": str(tmp_path / "slow.py"), "MILLHAND_TYPES": "slow",
        "MILLHAND_POLL_INTERVAL": f"{POLL_S}s", "MILLHAND_POLL_MAX": f"{POLL_S}s",
        "MILLHAND_LOG_LEVEL": "debug",
    }  # fmt: skip
    server = Server(tmp_path, free_port(), lease_s=300.0)
    journal = Journal("agent", tmp_path / "agent" / "state" / "journal")

    async def scenario() -> tuple[float, list[str | None]]:
        server.start()
        await until(server.is_up, "the server does not start")
        async with open_api(ApiConfig(url=server.url, token=TOKEN)) as api:
            job = await api.create_job({"type": "slow"})
            for _ in range(RUNS):
                await api.create_task(
                    {"jobId": job.id, "type": "slow", "parameters": {"folder": str(tmp_path)}}
                )
            with running_agent(tmp_path / "agent", server.url, TOKEN, slots=RUNS, settings=settings):
                await until(lambda: len(list(tmp_path.glob("*.runs"))) == RUNS, "the runs do not start")
                server.kill()
                (tmp_path / "go").touch()

                def is_far_ahead() -> bool:
                    # Not the last one: one of all waits may be cut, to see whether the server is back.
                    tries_at = next_tries_at(tmp_path / "agent" / "agent.log")
                    return len(tries_at) == RUNS and tries_at[-2] > time.time() + FAR_S

                await until(is_far_ahead, "the waits do not grow", limit_s=GROWN_S)
                far_at = next_tries_at(tmp_path / "agent" / "agent.log")[-2]
                assert len(journal.open_entries()) == RUNS
                server.start()
                await until(lambda: not journal.open_entries(), "the results do not arrive")
                early_s = far_at - time.time()
            return early_s, [run.result_code for run in await api.list_runs(job_id=job.id)]

    try:
        early_s, codes = asyncio.run(scenario())
    finally:
        server.kill()
    assert codes == ["Success"] * RUNS
    assert early_s > 0.0
