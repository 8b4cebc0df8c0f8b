"""A real agent is killed with SIGKILL: what its run had consumed is on the server all the same."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from server.testing import running_server
from tests.acceptance.agents import running_agent, start_agent
from tests.acceptance.test_killed_agent import LIMIT_S, runs_of, until
from worker.api.connect import open_api
from worker.config import ApiConfig
from worker.reporting.records import UsageRecord, read_records
from worker.usage.usage import Usage

MIB = 1 << 20
HANDLER = '''
"""A handler that burns and holds until a file is there, half of it in children."""
import os, time
from pathlib import Path
from worker import Context, handler

@handler("burn-on")
def burn_on(ctx: Context, *, file: str) -> dict:
    """Hold 64 MiB, burn one second in short children, then sleep."""
    held = bytearray(os.urandom(1 << 20)) * 64
    end_s = 1.0
    while end_s > 0:
        if (pid := os.fork()) == 0:
            until = time.process_time() + 0.02
            while time.process_time() < until: pass
            os._exit(0)
        os.waitpid(pid, 0)
        end_s -= 0.02
    while not Path(file).exists():
        time.sleep(0.01)
    return {"held": len(held)}
'''


def noted(journal: Path) -> Usage | None:
    """Return the usage that the journal holds last."""
    found = None
    for segment in sorted(path for path in journal.iterdir() if path.is_file()):
        for record in read_records(segment.read_bytes()):
            if isinstance(record, UsageRecord) and record.usage is not None:
                found = record.usage
    return found


def test_a_run_that_died_with_its_agent_has_its_bill(tmp_path: Path) -> None:
    """It is marked incomplete, no figure is below the journal's last note, and what is unknown is not 0."""
    (tmp_path / "own.py").write_text(HANDLER)
    settings = {"MILLHAND_HANDLERS": str(tmp_path / "own.py"), "MILLHAND_REPORT_INTERVAL": "60s"}
    journal = tmp_path / "agent" / "state" / "journal"

    notes: list[Usage] = []

    def has_noted_the_burn() -> bool:
        usage = noted(journal) if journal.is_dir() else None
        notes.extend([] if usage is None else [usage])
        return usage is not None and (usage.cpu_s or 0) >= 1.0

    async def main() -> tuple[Usage, dict[str, Any]]:
        with running_server() as server:
            async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
                job = await api.create_job({"type": "burn-on"})
                parameters = {"file": str(tmp_path / "go")}
                task = await api.create_task({"jobId": job.id, "type": "burn-on", "parameters": parameters})
                first = start_agent(tmp_path / "agent", server.url, server.token, slots=1, settings=settings)
                try:
                    await until(has_noted_the_burn)
                finally:
                    first.send_signal(signal.SIGKILL)
                    first.wait(LIMIT_S)
                last = noted(journal)
                assert last is not None
                (tmp_path / "go").touch()
                with running_agent(tmp_path / "agent", server.url, server.token, slots=1, settings=settings):
                    async with asyncio.timeout(LIMIT_S):
                        while (await api.get_task(task.id)).run_result != "Success":  # noqa: ASYNC110 - a server
                            await asyncio.sleep(0.05)
                runs = await runs_of(api, task.id)
                return last, next(run for run in runs if (run["error"] or "").startswith("worker_lost"))

    last, lost = asyncio.run(main())
    usage = lost["results"]["usage"]
    assert (notes[0].wall_s or 0) < 8.0  # the first note comes long before the tenth second
    assert usage["complete"] is False
    assert lost["CPUTime"] >= round(last.cpu_s or 0, 6) >= 1.0
    assert lost["wallClockTime"] >= round(last.wall_s or 0, 6) >= 1.0
    assert lost["RAMUsage"] >= (last.ram_peak_bytes or 0) >= 64 * MIB
    assert usage["ramAverageBytes"] >= 32 * MIB
    assert usage["methods"]["cpu_user_s"] in ("cgroup", "process_clock")
    assert all(usage["coverage"][name] > 0.5 for name in ("cpu_user_s", "ram_peak_bytes"))
    assert lost["GPUTime"] == 0  # none was given: known, and true
