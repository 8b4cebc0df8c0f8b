"""A real agent under strace: its terminal report is on stable storage before the first byte of it is sent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from server.testing import RunningServer, running_server
from tests.faults.driver import works
from tests.faults.syscalls import undurable_sends
from worker.api.connect import open_api
from worker.config import ApiConfig

LIMIT_S: Final = 60.0  # a bound for a hang, not a measure
CALLS: Final = "fdatasync,fsync,pwrite64,pwritev,write,writev,sendto,sendmsg,sendmmsg,sendfile"
TRACE: Final = [
    "strace",
    "-f",
    "--seccomp-bpf",
    "-qq",
    "-ttt",
    "-yy",
    "-s",
    "1000000",
    "-e",
    f"trace={CALLS}",
]
AGENT: Final = "from worker.cli.main import main; main(['agent'])"
NO_SYNC: Final = """
from worker.reporting.disk import DiskIO
async def append_durably(self, name, offset, block, on_written):
    await self.append(name, offset, block)
    on_written()
DiskIO.append_durably = append_durably
"""
LATE_SYNC: Final = """
import asyncio
from worker.reporting.disk import DiskIO
kept, sync = set(), DiskIO.fdatasync
async def later(self, name):
    await asyncio.sleep(0.2)
    await sync(self, name)
async def append_durably(self, name, offset, block, on_written):
    await self.append(name, offset, block)
    on_written()
    for earlier in kept:
        earlier.cancel()  # each covers all that was written: an earlier one would be in time
    kept.add(asyncio.create_task(later(self, name)))
DiskIO.append_durably = append_durably
"""
pytestmark = pytest.mark.skipif(
    not works("strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull),
    reason="needs strace, and the right to trace",
)


def traced(folder: Path, mutation: str = "") -> tuple[list[str], str]:
    """Let an agent work off one task under strace; return the trace, and the run's id."""
    with running_server() as server:
        run_id = asyncio.run(work_off(server, folder, mutation))
    return (folder / "trace").read_text(errors="replace").splitlines(), run_id


def start(server: RunningServer, folder: Path, mutation: str) -> subprocess.Popen[bytes]:
    """Start an agent under strace, in a session of its own."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "MILLHAND_CLOUD": "none",
        "MILLHAND_API_URL": server.url,
        "MILLHAND_TOKEN": server.token,
        "MILLHAND_STATE_DIR": str(folder / "state"),
        "MILLHAND_TYPES": "noop",
    }
    command = [*TRACE, "-o", str(folder / "trace"), sys.executable, "-P", "-c", mutation + AGENT]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


async def work_off(server: RunningServer, folder: Path, mutation: str) -> str:
    """Give a task, and wait until its run has stopped and all is told; return the run's id."""
    async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
        job = await api.create_job({"type": "noop"})
        task = await api.create_task({"jobId": job.id, "type": "noop", "parameters": {}})
        agent = start(server, folder, mutation)
        try:
            async with asyncio.timeout(LIMIT_S):
                while (await api.get_task(task.id)).run_status != "stopped":
                    assert agent.poll() is None, (folder / "log").read_text()[-2000:]
                    await asyncio.sleep(0.1)
            [run] = await api.list_runs(task_id=task.id)
            assert run.result_code == "Success"
            os.killpg(agent.pid, signal.SIGTERM)  # strace passes nothing on, and goes on tracing
            agent.wait(LIMIT_S)
            return run.id
        finally:
            if agent.poll() is None:
                os.killpg(agent.pid, signal.SIGKILL)
                agent.wait(LIMIT_S)


def test_a_terminal_report_is_synced_before_its_first_byte_is_sent(tmp_path: Path) -> None:
    """The kernel said that it is on the disk, and only then the request began."""
    lines, run_id = traced(tmp_path)
    assert undurable_sends(lines, str(tmp_path / "state" / "journal"), run_id) == []


@pytest.mark.parametrize("mutation", [NO_SYNC, LATE_SYNC])
def test_an_agent_that_syncs_never_or_late_is_found_out(tmp_path: Path, mutation: str) -> None:
    """The proof above would fail for it."""
    lines, run_id = traced(tmp_path, mutation)
    [said] = undurable_sends(lines, str(tmp_path / "state" / "journal"), run_id)
    assert "sync" in said
