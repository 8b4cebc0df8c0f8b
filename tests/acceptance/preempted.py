"""The program that `test_preemption.py` starts in a network namespace: clouds that take machines away.

One metadata server speaks for all three clouds, and one real agent stands on each. Their facts come late,
while their runs go on; then all machines are taken. Writes one JSON object: by cloud what was seen.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field

from server.testing import RunningServer, running_server
from tests.acceptance.agents import running_agent, start_agent
from tests.chaos.journals import Journal
from tests.chaos.waits import until
from tests.faults.processes import adopting_orphans, descendants
from tests.unit.machine.metadata_server import AWS, AZURE, GCE, QUIET, Case, serving, taken
from tests.unit.machine.namespace import have_address
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig
from worker.machine.metadata import ADDRESS

LIMIT_S: Final = 150.0  # a bound for a hang, not a measure
CLOUDS: Final = ("gce", "aws", "azure")
FACTS: Final = {**GCE, **AWS, **AZURE}
HANDLER: Final = '''
"""A handler that goes on until it is told to stop, and can go on from there."""
import time
from pathlib import Path
from worker import Context, handler

@handler("saves-{cloud}")
def saves(ctx: Context, *, file: str) -> dict:
    """Save a token and stop, when told to."""
    if ctx.resume is not None:
        return {{"resume": ctx.resume}}
    ctx.progress(0.5)
    Path(file).touch()
    while not ctx.cancelled:
        time.sleep(0.01)
    ctx.checkpoint({{"why": ctx.stop_reason, "left_s": ctx.deadline}})
    ctx.check()
'''


class Seat(Struct):
    """An agent on one cloud, and what was seen of it."""

    cloud: str
    folder: Path
    agent: subprocess.Popen[bytes]
    task_id: str = ""
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """Where the handler says that it runs."""
        return self.folder / "runs"


def write_handler(folder: Path, cloud: str) -> None:
    """Write down the handler of an agent."""
    folder.mkdir()
    (folder / "own.py").write_text(HANDLER.format(cloud=cloud))


async def seat(cloud: str, folder: Path, server: RunningServer, api: JobsApi) -> Seat:
    """Start an agent on a cloud, and give it a task."""
    settings = {
        "MILLHAND_CLOUD": cloud,
        "MILLHAND_HANDLERS": str(folder / "own.py"),
        "MILLHAND_TYPES": f"saves-{cloud}",
        "MILLHAND_REPORT_INTERVAL": "0.5s",
        "MILLHAND_HEARTBEAT": "1s",
        "MILLHAND_DRAIN_TIMEOUT": "600s",
    }
    agent = start_agent(folder / "a", server.url, server.token, slots=1, settings=settings)
    made = Seat(cloud, folder, agent)
    job = await api.create_job({"type": f"saves-{cloud}"})
    body = {"jobId": job.id, "type": f"saves-{cloud}", "parameters": {"file": str(made.file)}}
    made.task_id = (await api.create_task(body)).id
    return made


async def runs(api: JobsApi, one: Seat) -> list[dict[str, Any]]:
    """Return the started runs of a seat's task, oldest first."""
    found = [run.raw for run in await api.list_runs(task_id=one.task_id)]
    return sorted((run for run in found if run["startedAt"]), key=lambda run: str(run["createdAt"]))


async def play(api: JobsApi, one: Seat, case: Case, turns: asyncio.Barrier) -> None:
    """Let the run begin without facts, let the facts come, take the machine, and look."""
    await until(one.file.exists, f"the handler on {one.cloud} does not start")
    [one.seen["claimed"]] = await runs(api, one)
    await turns.wait()
    case.replies.update(FACTS)
    async with asyncio.timeout(LIMIT_S):
        while one.seen.get("zone") is None:
            await asyncio.sleep(0.05)
            [run] = await runs(api, one)
            one.seen |= {name: run[name] for name in ("zone", "machineType", "preemptible")}
            one.seen["source"] = (run.get("machine") or {}).get("zone", {}).get("source")
    await turns.wait()
    case.replies.update(taken())
    began = time.monotonic()
    one.seen["code"] = await asyncio.to_thread(one.agent.wait, LIMIT_S)
    one.seen["took_s"] = time.monotonic() - began
    kept = Journal("agent", one.folder / "a" / "state" / "journal").open_entries()
    one.seen["kept"] = [entry.terminal is not None for entry in kept.values()]


async def go_on(server: RunningServer, api: JobsApi, one: Seat) -> None:
    """Let another agent work; where the first one had still to tell, its next life."""
    place = one.folder / ("a" if one.seen["kept"] else "b")
    settings = {"MILLHAND_HANDLERS": str(one.folder / "own.py"), "MILLHAND_TYPES": f"saves-{one.cloud}"}
    with running_agent(place, server.url, server.token, slots=1, settings=settings):
        async with asyncio.timeout(LIMIT_S):
            while (await api.get_task(one.task_id)).run_result != "Success":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    one.seen["runs"] = await runs(api, one)


async def world(folder: Path) -> dict[str, Any]:
    """Play all clouds beside each other."""
    case = Case({**dict.fromkeys(FACTS, (503, "not yet")), **QUIET})
    seats: list[Seat] = []
    with running_server() as server, serving(ADDRESS, case):
        async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
            try:
                for cloud in CLOUDS:
                    write_handler(folder / cloud, cloud)
                    seats += [await seat(cloud, folder / cloud, server, api)]
                turns = asyncio.Barrier(len(seats))
                async with asyncio.TaskGroup() as group:
                    for one in seats:
                        group.create_task(play(api, one, case, turns))
                left = [process for process in descendants() if not process.is_zombie]
                await asyncio.gather(*(go_on(server, api, one) for one in seats))
            finally:
                for one in seats:
                    end(one.agent)
    logs = {one.cloud: (one.folder / "a" / "agent.log").read_text()[-6000:] for one in seats}
    return {"left": len(left), **{one.cloud: {**one.seen, "log": logs[one.cloud]} for one in seats}}


def end(agent: subprocess.Popen[bytes]) -> None:
    """Kill an agent that has not ended."""
    if agent.poll() is None:
        os.killpg(agent.pid, signal.SIGKILL)
        agent.wait(LIMIT_S)


def main() -> None:
    """Play it in the folder that is given, and write what was seen."""
    have_address()
    with adopting_orphans():
        json.dump(asyncio.run(world(Path(sys.argv[1]))), sys.stdout)


if __name__ == "__main__":
    main()
