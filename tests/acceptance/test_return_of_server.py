"""A server that comes back after an outage long enough for the waits of results to have grown."""

from __future__ import annotations

import asyncio
import time
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
AWAY_S: Final = 30.0  # then results wait for half a minute or more, each for another time
POLL_S: Final = 1.0  # after which the agent sees that the server is back
ROOM_S: Final = 9.0  # for a busy machine; without being woken they took 25 s
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


def test_all_results_are_told_within_seconds_of_the_servers_return(tmp_path: Path) -> None:
    """As soon as one poll is answered, with the next wait of each far ahead."""
    (tmp_path / "slow.py").write_text(HANDLER)
    settings = {
        "MILLHAND_HANDLERS": str(tmp_path / "slow.py"), "MILLHAND_TYPES": "slow",
        "MILLHAND_POLL_INTERVAL": f"{POLL_S}s", "MILLHAND_POLL_MAX": f"{POLL_S}s",
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
                await asyncio.sleep(AWAY_S)  # nothing tells how far ahead the next tries are
                assert len(journal.open_entries()) == RUNS
                server.start()
                await until(server.is_up, "the server does not come back")
                back_mono = time.monotonic()
                await until(lambda: not journal.open_entries(), "the results do not arrive")
                took_s = time.monotonic() - back_mono
            return took_s, [run.result_code for run in await api.list_runs(job_id=job.id)]

    try:
        took_s, codes = asyncio.run(scenario())
    finally:
        server.kill()
    assert codes == ["Success"] * RUNS
    assert took_s <= POLL_S + APART_S + RETURN_S + ROOM_S
