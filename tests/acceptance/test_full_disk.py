"""A real agent on a disk without room: it claims nothing, says so, and goes on when there is room."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from server.testing import running_server
from tests.acceptance.agents import running_agent
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig

LIMIT_S = 60.0  # a bound for a hang, not a measure

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own needs root; CI is root")


@pytest.fixture
def base() -> Iterator[Path]:
    """Give a folder."""
    with tempfile.TemporaryDirectory(prefix="millhand-full-disk-") as folder:
        yield Path(folder)


def on_a_small_disk(base: Path, options: str, fill: str) -> str:
    """Write a Python that runs whose agent has its state on a small disk that only it sees."""
    state = shlex.quote(str(base / "agent" / "state"))
    inner = f'mount -t tmpfs -o {options} small {state} && cd {state} && {fill} && cd / && exec "$0" "$@"'
    script = base / "python"
    script.write_text(
        "#!/bin/sh\n"
        f"mkdir -p {state}\n"
        f'exec unshare -m sh -c {shlex.quote(inner)} {shlex.quote(sys.executable)} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


def events(base: Path, name: str) -> list[dict[str, Any]]:
    """Return the events of a name in the agent's log."""
    lines = (base / "agent" / "agent.log").read_text().splitlines()
    return [event for line in lines if line.startswith("{") and (event := json.loads(line))["event"] == name]


async def until_said(base: Path, name: str) -> dict[str, Any]:
    """Wait until the agent's log holds an event."""
    async with asyncio.timeout(LIMIT_S):
        while not (found := events(base, name)):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)
    return found[0]


async def first_run(api: JobsApi, task_id: str) -> dict[str, Any]:
    """Return the run of a task, once it has stopped."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            for run in await api.list_runs(task_id=task_id):
                if run.raw["stoppedAt"]:
                    return run.raw
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("options", "fill", "lack"),
    [
        ("size=64m", "head -c 55M /dev/zero > ballast", "MB are free"),
        ("size=64m,nr_inodes=1500", "mkdir ballast && touch $(seq -f ballast/%g 1000)", "more files"),
    ],
    ids=["bytes", "names"],
)
def test_an_agent_claims_nothing_until_its_disk_has_room(
    base: Path, options: str, fill: str, lack: str
) -> None:
    """A task that waits is claimed after the room was made, not before; both are told once."""
    python = on_a_small_disk(base, options, fill)
    settings = {"MILLHAND_MIN_FREE": "32M", "MILLHAND_LOG_FORMAT": "json"}

    async def scenario(url: str, token: str) -> None:
        async with open_api(ApiConfig(url=url, token=token)) as api:
            job = await api.create_job({"title": "full disk", "type": "noop"})
            task = await api.create_task({"jobId": job.id, "type": "noop"})
            with running_agent(
                base / "agent", url, token, slots=1, settings=settings, python=python
            ) as agent:
                short = await until_said(base, "disk.short")
                assert lack in short["lack"]
                assert await api.list_runs(task_id=task.id) == []
                ballast = Path(f"/proc/{agent.pid}/root") / (base / "agent/state/ballast").relative_to("/")
                for path in ballast.iterdir() if ballast.is_dir() else [ballast]:
                    path.unlink()
                room = await until_said(base, "disk.has_room")
                run = await first_run(api, task.id)
                assert run["resultCode"] == "Success"
                assert at(run["startedAt"]) > at(room["at"])

    with running_server() as server:
        asyncio.run(scenario(server.url, server.token))
    assert len(events(base, "disk.short")) == len(events(base, "disk.has_room")) == 1


def at(written: str) -> datetime:
    """Return a time that was written in ISO 8601."""
    return datetime.fromisoformat(written)
