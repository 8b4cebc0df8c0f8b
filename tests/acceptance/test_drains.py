"""Real agents are drained as Kubernetes does it, with handlers that save what they have, and deaf ones.

How the seconds are divided is shown in virtual time (`tests/integration/test_drains_in_virtual_time.py`);
here no bound is near, and what counts is what server, journal and next claimer see.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from server.testing import RunningServer, running_server
from tests.acceptance.agents import running_agent, start_agent
from tests.chaos.journals import Journal
from tests.chaos.waits import until
from tests.faults.processes import adopting_orphans, descendants
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig

SLACK_S: Final = 60.0  # after which a pod is killed: a bound for a hang, not a measure
KINDS: Final = ("saves", "deaf")
HANDLERS: Final = '''
"""Handlers that go on for ever, until they have something to go on from."""
import ctypes, signal, time
from pathlib import Path
from worker import Context, handler

@handler("saves-{name}")
def saves(ctx: Context, *, file: str) -> dict:
    """Save a token and stop, when told to."""
    if ctx.resume is not None:
        return {{"resume": ctx.resume}}
    Path(file).touch()
    while not ctx.cancelled:
        time.sleep(0.01)
    ctx.checkpoint({{"why": ctx.stop_reason, "left_s": ctx.deadline}})
    Path(file + ".saved").touch()
    ctx.check()

@handler("deaf-{name}")
def deaf(ctx: Context, *, file: str) -> dict:
    """Save a token, then sleep in native code with every signal blocked and the interpreter's lock held."""
    if ctx.resume is not None:
        return {{"resume": ctx.resume}}
    ctx.checkpoint({{"at": 1}})
    Path(file).touch()
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(600)
'''


class Pod(Struct):
    """One agent with a run of each kind, and what was seen of its drain."""

    name: str
    timeout_s: float
    folder: Path
    is_hurried: bool = False
    tasks: dict[str, str] = {}  # by kind
    code: int | None = None
    is_told_in_time: bool = False  # the server knew all when the agent had ended
    kept: dict[str, Any] = {}  # what the journal held then
    told_at_once: dict[str, Any] = {}  # what the deaf run showed while it went on

    @property
    def settings(self) -> dict[str, str]:
        """The agent's settings."""
        return {
            "MILLHAND_HANDLERS": str(self.folder / "own.py"),
            "MILLHAND_TYPES": ",".join(f"{kind}-{self.name}" for kind in KINDS),
            "MILLHAND_DRAIN_TIMEOUT": f"{self.timeout_s}s",
        }

    async def play(self, server: RunningServer, api: JobsApi) -> None:
        """Let the runs begin, drain, and look."""
        self.folder.mkdir()
        (self.folder / "own.py").write_text(HANDLERS.format(name=self.name))
        files = {kind: self.folder / f"{kind}.runs" for kind in KINDS}
        for kind in KINDS:
            type_ = f"{kind}-{self.name}"
            job = await api.create_job({"type": type_})
            body = {"jobId": job.id, "type": type_, "parameters": {"file": str(files[kind])}}
            self.tasks[kind] = (await api.create_task(body)).id
        agent = start_agent(self.folder / "a", server.url, server.token, slots=2, settings=self.settings)
        try:
            await until(lambda: all(file.exists() for file in files.values()), "the handlers do not start")
            agent.send_signal(signal.SIGTERM)
            await self.look_at_deaf(api)
            if self.is_hurried:
                saved = Path(f"{files['saves']}.saved")
                await until(saved.exists, "the handler that can does not save")
                agent.send_signal(signal.SIGTERM)
            self.code = await asyncio.to_thread(agent.wait, self.timeout_s + SLACK_S)
        finally:
            kill_pod(agent)
        self.kept = Journal("agent", self.folder / "a" / "state" / "journal").open_entries()
        runs = [run for kind in KINDS for run in await self.runs(api, kind)]
        self.is_told_in_time = all(run["stoppedAt"] for run in runs if run["startedAt"])

    async def look_at_deaf(self, api: JobsApi) -> None:
        """Wait until the deaf run tells why it is to stop."""
        async with asyncio.timeout(SLACK_S):
            while "stopping" not in (self.told_at_once.get("results") or {}):
                [self.told_at_once, *_] = await self.runs(api, "deaf")
                if self.told_at_once["stoppedAt"]:
                    return
                await asyncio.sleep(0.05)

    async def runs(self, api: JobsApi, kind: str) -> list[dict[str, Any]]:
        """Return the runs of a task, oldest first."""
        runs = [run.raw for run in await api.list_runs(task_id=self.tasks[kind])]
        return sorted(runs, key=lambda run: (run["createdAt"], run["startedAt"] is None))

    async def go_on(self, server: RunningServer, api: JobsApi) -> dict[str, Any]:
        """Let the next claimer work: elsewhere, or where there is something to deliver; return results."""
        place = self.folder / ("b" if self.is_told_in_time else "a")
        with running_agent(place, server.url, server.token, slots=2, settings=self.settings):
            async with asyncio.timeout(SLACK_S):
                for task_id in self.tasks.values():
                    while (await api.get_task(task_id)).run_result != "Success":  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
        ends = {kind: [run for run in await self.runs(api, kind) if run["startedAt"]] for kind in KINDS}
        return {kind: [(run["error"] or "", run["results"]) for run in runs] for kind, runs in ends.items()}


def kill_pod(agent: subprocess.Popen[bytes]) -> None:
    """Kill all that is left of a pod when its grace is over."""
    if agent.poll() is None:
        os.killpg(agent.pid, signal.SIGKILL)
        agent.wait(SLACK_S)


def check(pod: Pod, ends: dict[str, Any]) -> None:
    """See that the runs were given back, with what they had saved, and were finished by the next."""
    assert pod.code == 0, (pod.folder / "a" / "agent.log").read_text()[-3000:]
    if pod.is_told_in_time:
        assert pod.kept == {}
    else:  # a machine that was too busy: nothing is lost
        assert all(entry.terminal is not None for entry in pod.kept.values())
    for kind, runs in ends.items():
        [(error, results), (last_error, last_results)] = runs
        assert error.startswith("drained: SIGTERM received"), (kind, error)
        assert ("was killed" in error) == (kind == "deaf"), error
        assert (last_error, last_results["resume"]) == ("", results["checkpoint"])
    assert ends["deaf"][0][1]["checkpoint"] == {"at": 1}


def test_drained_agents_give_their_runs_back_with_what_they_had_saved(tmp_path: Path) -> None:
    """In 5 s, in 15 s, and at once by a second SIGTERM: exit code 0, runs drained, nothing left running.

    Why a run is to stop, and its checkpoint so far, were told while it went on.
    """
    pods = [
        Pod("five", 5.0, tmp_path / "five", tasks={}),
        Pod("fifteen", 15.0, tmp_path / "fifteen", tasks={}),
        Pod("hurried", 600.0, tmp_path / "hurried", is_hurried=True, tasks={}),
    ]

    async def main() -> list[dict[str, Any]]:
        with running_server() as server:
            async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
                async with asyncio.TaskGroup() as group:
                    for pod in pods:
                        group.create_task(pod.play(server, api))
                assert [one for one in descendants() if not one.is_zombie] == []
                return await asyncio.gather(*(pod.go_on(server, api) for pod in pods))

    with adopting_orphans():
        ends = asyncio.run(main())
    for pod, end in zip(pods, ends, strict=True):
        check(pod, end)
    fifteen, hurried = pods[1], pods[2]
    for pod in (fifteen, hurried):
        assert pod.told_at_once["stoppedAt"] is None
        why = {"kind": "drained", "message": "SIGTERM received"}
        assert pod.told_at_once["results"]["stopping"] == why
        assert pod.told_at_once["results"]["checkpoint"] == {"at": 1}
    saved = ends[1]["saves"][0][1]["checkpoint"]
    assert saved["why"] == "drained"
    assert 0 < saved["left_s"] <= fifteen.timeout_s * 0.8
