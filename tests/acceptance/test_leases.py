"""Real agents that the server does not hear: their task goes to another, and never runs twice at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from server.testing import RunningServer, running_server
from tests.acceptance.agents import running_agent, start_agent
from tests.acceptance.relay import Relay, relay_to
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.api.models import Task
from worker.config import ApiConfig

LIMIT_S = 60.0  # a bound for a hang, not a measure
LEASE_S = 5.0  # an agent that is heard of every 0.2 s keeps it on a busy machine, too
HANDLER = '''
"""A handler that writes down every moment at which it runs."""
import os, time
from pathlib import Path
from worker import Context, handler

@handler("beat")
def beat(ctx: Context, *, folder: str) -> dict:
    """Beat until a file is there."""
    target = os.open(Path(folder) / "beats", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while not (Path(folder) / "go").exists():
        os.write(target, f"{time.monotonic_ns()} {os.getpid()}\\n".encode())
        time.sleep(0.002)
    return {"pid": os.getpid()}
'''


class Beat(NamedTuple):
    """A moment at which a handler ran."""

    at_ns: int
    pid: int


class Stage:
    """A folder with the handler, and what it wrote."""

    def __init__(self, folder: Path) -> None:
        """Write the handler."""
        self.folder = folder
        (folder / "beat.py").write_text(HANDLER)
        self.settings = {"MILLHAND_HANDLERS": str(folder / "beat.py"), "MILLHAND_REPORT_INTERVAL": "0.2s"}

    def beats(self) -> list[Beat]:
        """Return all beats, in the order of time."""
        path = self.folder / "beats"
        lines = path.read_text().splitlines() if path.exists() else []
        return sorted(Beat(int(at), int(pid)) for at, pid in (line.split() for line in lines))

    def pids(self) -> list[int]:
        """Return who beat, in the order of first beats."""
        return list(dict.fromkeys(beat.pid for beat in self.beats()))

    def finish(self) -> None:
        """Let handlers end."""
        (self.folder / "go").touch()

    async def submit(self, api: JobsApi) -> Task:
        """Make a job with one task."""
        job = await api.create_job({"type": "beat"})
        body = {"jobId": job.id, "type": "beat", "parameters": {"folder": str(self.folder)}}
        return await api.create_task(body)


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until something holds; return it."""
    give_up_mono = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < give_up_mono, "it did not come about"
        await asyncio.sleep(0.02)
    return found


async def until_result(api: JobsApi, task: Task) -> dict[str, Any]:
    """Wait until the task has succeeded; return the results of its current run."""
    async with asyncio.timeout(LIMIT_S):
        while (await api.get_task(task.id)).run_result != "Success":  # noqa: ASYNC110 - asks a server
            await asyncio.sleep(0.05)
    runs = await api.list_runs(task_id=task.id)
    return next(run.results for run in runs if run.result_code == "Success")


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("fault", ["cut off", "frozen", "vanished"])
def test_a_silent_agents_task_goes_to_another_and_never_runs_twice_at_once(
    tmp_path: Path, fault: str
) -> None:
    """Its child stands still, or is dead, before the other one's first step; later it is ended.

    The agent is cut off from the server, stopped as a whole, or gone for good.
    """
    stage = Stage(tmp_path)

    async def scenario() -> None:
        with running_server(lease_s=LEASE_S) as server, relay_to(server.url) as relay:
            first = start_agent(tmp_path / "first", relay.url, server.token, slots=1, settings=stage.settings)
            try:
                async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
                    task = await stage.submit(api)
                    lost = (await until(stage.pids))[0]
                    settings = stage.settings
                    with running_agent(
                        tmp_path / "second", server.url, server.token, slots=1, settings=settings
                    ):
                        if fault == "cut off":
                            relay.cut()
                        else:
                            os.kill(first.pid, signal.SIGSTOP if fault == "frozen" else signal.SIGKILL)
                        await until(lambda: len(stage.pids()) == 2)
                        relay.mend()
                        if fault == "frozen":
                            os.kill(first.pid, signal.SIGCONT)
                        await until(lambda: not is_alive(lost))
                        stage.finish()
                        results = await until_result(api, task)
                        assert results["pid"] != lost
            finally:
                first.send_signal(signal.SIGCONT)
                first.kill() if fault == "vanished" else first.terminate()
                first.wait(LIMIT_S)
        beats = stage.beats()
        last_of_lost = max(beat.at_ns for beat in beats if beat.pid == lost)
        first_of_other = min(beat.at_ns for beat in beats if beat.pid != lost)
        assert last_of_lost < first_of_other

    asyncio.run(scenario())


def test_a_run_that_stood_still_goes_on_when_it_is_still_its_agents(tmp_path: Path) -> None:
    """The server did not listen either: after its start every run has a full lease, and nothing is lost."""
    stage = Stage(tmp_path)

    async def scenario() -> None:
        with one_agent(stage) as (server, relay):
            async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
                task = await stage.submit(api)
                pid = (await until(stage.pids))[0]
                relay.cut()
                await until(lambda: state_of(pid) == "T")
                relay.mend()
                await until(lambda: state_of(pid) != "T")
                count = len(stage.beats())
                await until(lambda: len(stage.beats()) > count)
                stage.finish()
                assert (await until_result(api, task))["pid"] == pid

    asyncio.run(scenario())


def test_what_was_finished_while_nobody_heard_it_arrives_late(tmp_path: Path) -> None:
    """The server gave the run up; nobody else has started the task, so its result counts and ends it."""
    stage = Stage(tmp_path)

    async def scenario() -> None:
        with one_agent(stage) as (server, relay):
            async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
                task = await stage.submit(api)
                pid = (await until(stage.pids))[0]
                relay.cut()
                stage.finish()
                await until_status(api, task, "pending")
                relay.mend()
                assert (await until_result(api, task))["pid"] == pid
                assert len(await api.list_runs(task_id=task.id)) == 1
        assert stage.pids() == [pid]

    asyncio.run(scenario())


@contextmanager
def one_agent(stage: Stage) -> Iterator[tuple[RunningServer, Relay]]:
    """Give a server with leases, a wire to it, and an agent at the wire's other end."""
    with (
        running_server(lease_s=LEASE_S) as server,
        relay_to(server.url) as relay,
        running_agent(stage.folder / "agent", relay.url, server.token, slots=1, settings=stage.settings),
    ):
        yield server, relay


async def until_status(api: JobsApi, task: Task, status: str) -> None:
    """Wait until the server shows a task so."""
    async with asyncio.timeout(LIMIT_S):
        while (await api.get_task(task.id)).run_status != status:  # noqa: ASYNC110 - asks a server
            await asyncio.sleep(0.02)


def state_of(pid: int) -> str:
    """Return the state of a process; "" where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


STEPPING = '''
"""A handler that saves where it is, and waits at its third step when it began anew."""
import time
from pathlib import Path
from worker import Context, handler

@handler("steps")
def steps(ctx: Context, *, folder: str) -> dict:
    """Go on from the checkpoint."""
    begun = (ctx.resume or {"step": 0})["step"]
    for step in range(begun, 5):
        ctx.checkpoint({"step": step})
        with (Path(folder) / "steps").open("a") as file:
            file.write(f"{step}\\n")
        while step == 2 and begun == 0:
            time.sleep(0.02)
    return {"begun": begun}
'''


def test_the_checkpoint_of_a_machine_that_is_lost_without_notice_reaches_the_next(tmp_path: Path) -> None:
    """It stood in an ordinary report: nobody asked the run to stop, and nothing of the machine comes back."""
    (tmp_path / "steps.py").write_text(STEPPING)
    settings = {"MILLHAND_HANDLERS": str(tmp_path / "steps.py"), "MILLHAND_REPORT_INTERVAL": "0.2s"}

    async def reported(api: JobsApi, task: Task) -> bool:
        runs = await api.list_runs(task_id=task.id)
        return any(run.results.get("checkpoint") == {"step": 2} for run in runs)

    async def scenario() -> None:
        with running_server(lease_s=LEASE_S) as server:
            first = start_agent(tmp_path / "first", server.url, server.token, slots=1, settings=settings)
            try:
                async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
                    job = await api.create_job({"type": "steps"})
                    body = {"jobId": job.id, "type": "steps", "parameters": {"folder": str(tmp_path)}}
                    task = await api.create_task(body)
                    async with asyncio.timeout(LIMIT_S):
                        while not await reported(api, task):  # noqa: ASYNC110 - asks a server
                            await asyncio.sleep(0.05)
                    first.kill()
                    first.wait(LIMIT_S)
                    second = tmp_path / "second"
                    with running_agent(second, server.url, server.token, slots=1, settings=settings):
                        assert (await until_result(api, task))["begun"] == 2
                    ends = {run.error_kind for run in await api.list_runs(task_id=task.id)}
                    assert ends == {"worker_lost", "requeued", None}
            finally:
                first.kill()
                first.wait(LIMIT_S)

    asyncio.run(scenario())
    assert (tmp_path / "steps").read_text().split() == ["0", "1", "2", "2", "3", "4"]
