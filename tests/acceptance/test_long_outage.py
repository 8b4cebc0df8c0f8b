"""A server that is down around the end of a run, for longer than any request of the agent lasts."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, Final

from tests.acceptance.agents import running_agent, start_agent
from tests.chaos.journals import Journal, token_in
from tests.chaos.processes import TOKEN
from tests.chaos.servers import Server
from tests.chaos.waits import until
from tests.integration.ports import free_port
from worker.api.connect import open_api
from worker.config import ApiConfig

REQUEST_S: Final = 0.5  # how long the agent waits for one answer
TRIES: Final = 4  # of the report, before the agent is killed, and by its next life
LEASE_S: Final = 120.0  # the child must not stand still: what comes late is the report, not the run
HANDLER: Final = '''
"""A handler whose result nobody can guess."""
import os, secrets, time
from pathlib import Path
from worker import Context, handler

@handler("slow")
def slow(ctx: Context, *, folder: str) -> dict:
    """Tell that it runs, wait until a file is there, return a token."""
    token = secrets.token_hex(8)
    book = os.open(Path(folder) / "book", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(book, f"{ctx.run_id} {token}\\n".encode())
    while not (Path(folder) / "go").exists():
        time.sleep(0.01)
    return {"token": token}
'''


def tries(log: Path) -> int:
    """Count the requests that were made again because no answer came."""
    return len(re.findall(r"request\.repeated", log.read_text())) if log.exists() else 0


def test_one_correct_result_arrives_after_a_long_outage_and_a_killed_agent(tmp_path: Path) -> None:
    """The run ends while the server is dead, the agent dies trying to tell; both come back, the agent first.

    The handler has run once, and its own token is what the one run of the task shows.
    """
    (tmp_path / "slow.py").write_text(HANDLER)
    book, log = tmp_path / "book", tmp_path / "agent" / "agent.log"
    settings = {
        "MILLHAND_HANDLERS": str(tmp_path / "slow.py"), "MILLHAND_TYPES": "slow",
        "MILLHAND_LOG_LEVEL": "debug",
        "MILLHAND_REQUEST_TIMEOUT": f"{REQUEST_S}s", "MILLHAND_REPORT_INTERVAL": "0.2s",
    }  # fmt: skip
    server = Server(tmp_path, free_port(), lease_s=LEASE_S)
    journal = Journal("agent", tmp_path / "agent" / "state" / "journal")

    def has_outcome() -> bool:
        return any(entry.terminal is not None for entry in journal.open_entries().values())

    async def scenario() -> tuple[list[dict[str, Any]], str]:
        server.start()
        await until(server.is_up, "the server does not start")
        async with open_api(ApiConfig(url=server.url, token=TOKEN)) as api:
            job = await api.create_job({"type": "slow"})
            parameters = {"folder": str(tmp_path)}
            task = await api.create_task({"jobId": job.id, "type": "slow", "parameters": parameters})
            first = start_agent(tmp_path / "agent", server.url, TOKEN, slots=1, settings=settings)
            try:
                await until(book.exists, "the handler does not start")
                server.kill()
                (tmp_path / "go").touch()
                await until(has_outcome, "the outcome is not written down")
                told = tries(log)
                await until(lambda: tries(log) >= told + TRIES, "the report is not tried again")
            finally:
                first.kill()
                first.wait()
            told = tries(log)
            with running_agent(tmp_path / "agent", server.url, TOKEN, slots=1, settings=settings):
                await until(lambda: tries(log) >= told + TRIES, "the next life does not try")
                server.start()
                await until(server.is_up, "the server does not come back")
                await until(lambda: not journal.open_entries(), "the result does not arrive")
            runs = [run.raw for run in await api.list_runs(task_id=task.id)]
            return runs, str((await api.get_task(task.id)).run_result)

    try:
        runs, shown = asyncio.run(scenario())
    finally:
        server.kill()
    [line] = book.read_text().splitlines()
    assert [(f"{run['id']} {token_in(run)}", run["resultCode"]) for run in runs] == [(line, "Success")]
    assert shown == "Success"
