"""A real agent with GPUs that are not there: a stand-in for NVML's library, changed while it works."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from server.testing import running_server
from tests.acceptance.agents import running_agent
from tests.nvml import FakeNvml
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig
from worker.machine.gpu_watch import WATCH

SOON_S: Final = 1.5  # of two looks, for samples of processes to count
LIMIT_S: Final = 90.0  # a bound for a hang, not a measure
HANDLERS: Final = '''
"""Handlers that say to the stand-in what they do on their GPU, and wait to be let go."""
import fcntl, os, time
from pathlib import Path
from worker import Context, handler

def say(state: Path, line: str, is_so: bool) -> None:
    with state.with_name("lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines = [one for one in state.read_text().splitlines() if one != line] + [line] * is_so
        part = state.with_suffix(f".{os.getpid()}")
        part.write_text("\\n".join(lines) + "\\n")
        part.replace(state)

@handler("compute")
def compute(ctx: Context, *, state: str, go: str, bytes: int = 0, sm: int = 0) -> dict:
    """Compute on GPU 0 until the file `go` is there."""
    line = f"gpu 0 proc {os.getpid()} {bytes} {sm}"
    say(Path(state), line, True)
    while not Path(go).exists():
        time.sleep(0.02)
    say(Path(state), line, False)
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")
    return {"gpus": list(ctx.gpus), "pid": os.getpid(), **{name: os.environ[name] for name in names}}

@handler("asks", gpus=1)
def asks(ctx: Context) -> dict:
    """Say which GPUs it was given."""
    return {"gpus": list(ctx.gpus)}

@handler("broken")
def broken(ctx: Context) -> dict:
    """Fail as on a sick GPU."""
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
'''


class Scene:
    """A server, an agent and the stand-in, and what a test does with them."""

    def __init__(
        self, api: JobsApi, job: str, fake: FakeNvml, folder: Path, access: Mapping[str, str]
    ) -> None:
        """Take them; `access` is what the command line needs to reach the server."""
        self.api, self.job, self.fake, self.folder, self.access = api, job, fake, folder, access
        self.go = folder / "go"

    async def submit(self, type_: str, *, gpus: int = 1, **parameters: Any) -> str:
        """Return the id of a new task."""
        if type_ == "compute":
            parameters |= {"state": str(self.fake.state), "go": str(parameters.pop("go", self.go))}
        requires = {"requires": {"gpus": gpus}} if gpus else {}
        task = await self.api.create_task(
            {"jobId": self.job, "type": type_, "parameters": parameters | requires}
        )
        return task.id

    async def ended(self, task_id: str) -> dict[str, Any]:
        """Return the run of a task once it has stopped."""
        while True:
            for run in await self.api.list_runs(task_id=task_id):
                if run.stopped_at:
                    return (await self.api.get_run(run.id)).raw
            await asyncio.sleep(0.05)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a name in the agent's log."""
        lines = (self.folder / "agent/agent.log").read_text().splitlines()
        parsed = (json.loads(line) for line in lines if line.startswith("{"))
        return [event for event in parsed if event["event"] == name]

    async def said(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the agent's log holds so many events of a name."""
        while len(found := self.events(name)) < count:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
        return found

    async def left(self, task_id: str) -> str:
        """Wait until the agent leaves a task; return why."""
        while True:
            for event in self.events("task.left"):
                if event["task_id"] == task_id:
                    return " | ".join(event["reasons"])
            await asyncio.sleep(0.05)

    async def looked(self, count: int = 3) -> None:
        """Wait until the agent has looked so often in a row, each soon enough after the one before.

        A helper writes once for each look.
        """
        (helper,) = helpers(self.fake)
        seen, since_mono, row = writes(helper), time.monotonic(), 0
        while row < count:
            await asyncio.sleep(0.02)
            if (now := writes(helper)) > seen:
                row = row + 1 if time.monotonic() - since_mono < SOON_S else 0
                seen, since_mono = now, time.monotonic()

    async def computing(self, count: int = 1) -> None:
        """Wait until so many processes compute on GPU 0."""
        while self.fake.state.read_text().count("gpu 0 proc") < count:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


def play(
    fake: FakeNvml,
    folder: Path,
    scene: Callable[[Scene], Awaitable[None]],
    *,
    slots: int = 2,
    settings: dict[str, str] | None = None,
) -> None:
    """Let an agent work while `scene` goes on; then nothing of it may be left."""
    (folder / "own.py").write_text(HANDLERS)
    told = agent_settings(fake, folder) | (settings or {})

    async def main(url: str, token: str) -> None:
        async with open_api(ApiConfig(url=url, token=token)) as api, asyncio.timeout(LIMIT_S):
            job = await api.create_job({"title": "gpus", "type": "compute"})
            access = {"MILLHAND_API_URL": url, "MILLHAND_TOKEN": token}
            await scene(Scene(api, job.id, fake, folder, access))

    with (
        running_server() as server,
        running_agent(folder / "agent", server.url, server.token, slots=slots, settings=told),
    ):
        asyncio.run(main(server.url, server.token))
    assert helpers(fake) == []


def agent_settings(fake: FakeNvml, folder: Path) -> dict[str, str]:
    """Return the settings of an agent that finds the stand-in."""
    own = {"MILLHAND_HANDLERS": str(folder / "own.py"), "MILLHAND_LOG_FORMAT": "json"}
    return own | fake.environment | {"MILLHAND_POLL_INTERVAL": "0.2", "MILLHAND_LONG_POLL": "0"}


def writes(pid: int) -> int:
    """Return how often a process has written."""
    return int(psutil.Process(pid).io_counters().write_count)


def helpers(fake: FakeNvml) -> list[int]:
    """Return the helpers that use this stand-in."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        if WATCH[-1] in (one.info["cmdline"] or ()):
            try:
                if one.environ().get("LD_LIBRARY_PATH") == str(fake.folder):
                    found.append(one.pid)
            except psutil.Error:
                continue
    return found


async def there(fake: FakeNvml) -> list[int]:
    """Wait until a helper is there."""
    async with asyncio.timeout(LIMIT_S):
        while not (found := helpers(fake)):  # noqa: ASYNC110 - another process starts it
            await asyncio.sleep(0.05)
    return found
