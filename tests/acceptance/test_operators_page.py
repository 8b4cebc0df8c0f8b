"""The page of a real agent: what operators see of its runs, its GPUs and its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from socket import create_server
from typing import Any, Final

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.testing import running_server
from tests.acceptance.agents import STOP_S, running_agent, start_agent
from tests.acceptance.gpu_scene import LIMIT_S, Scene, play
from tests.integration.ports import free_port
from tests.nvml import FakeNvml, gpu
from worker.api.connect import open_api
from worker.config import ApiConfig

HANDLER: Final = '''
"""A handler that does not listen."""
import time
from pathlib import Path
from worker import Context, handler

@handler("deaf")
def deaf(ctx: Context, *, go: str, secret: str) -> dict:
    """Wait until a file is there."""
    ctx.progress(0.25)
    while not Path(go).exists():
        time.sleep(0.02)
    return {}
'''


class Page:
    """The page of one agent."""

    def __init__(self) -> None:
        """Choose a port."""
        self.port = free_port()
        self.settings = {"MILLHAND_HTTP_PORT": str(self.port)}

    async def get(self, path: str) -> httpx.Response:
        """Ask, as soon as it answers."""
        async with httpx.AsyncClient(trust_env=False, timeout=LIMIT_S) as client:
            while True:
                try:
                    return await client.get(f"http://127.0.0.1:{self.port}{path}")
                except httpx.ConnectError:
                    await asyncio.sleep(0.05)

    async def status(self, is_so: Callable[[dict[str, Any]], object] = lambda status: True) -> dict[str, Any]:
        """Return the status once something is so."""
        while not is_so(status := (await self.get("/status")).json()):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        return dict(status)

    async def metrics(self) -> dict[str, float]:
        """Return the samples as they stand in the text, by all that stands before the value."""
        text = (await self.get("/metrics")).text
        assert list(text_string_to_metric_families(text))
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}


def test_a_gpu_in_quarantine_is_seen_with_its_reason(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """In the status for how long and why, in the metrics as one; a run goes on with the other GPU."""
    fake = FakeNvml(tmp_path_factory.mktemp("nvml"))
    fake.put(gpu(0) + gpu(1))
    page = Page()

    async def scene(on: Scene) -> None:
        for _ in range(3):
            await on.submit("broken")
        await on.said("gpu.quarantined")
        task = await on.submit("compute")
        status = await page.status(lambda status: status["runs"])
        sick, well = status["gpus"]
        assert (sick["uuid"], sick["name"], sick["condition"]) == ("GPU-1", "NVIDIA L4", "quarantined")
        assert sick["reason"].endswith("3 tasks in a row failed on it")
        assert 0 < sick["quarantineLeftS"] <= 3600
        (run,) = status["runs"]
        assert (run["taskId"], run["type"], run["gpus"]) == (task, "compute", ["GPU-2"])
        assert (well["uuid"], well["runs"], well["reason"]) == ("GPU-2", [run["runId"]], None)
        assert status["slots"] == {"total": 1, "busy": 1, "free": 0}
        assert (status["isClaiming"], [hold["by"] for hold in status["holds"]]) == (False, ["slots"])
        metrics = await page.metrics()
        assert metrics['millhand_gpus{condition="quarantined"}'] == 1
        assert metrics['millhand_gpus{condition="fit"}'] == 1
        assert metrics['millhand_runs_total{outcome="handler_error",type="broken"}'] == 3
        assert metrics['millhand_claims_held{by="slots"}'] == 1
        on.go.touch()
        await on.ended(task)
        status = await page.status(lambda status: status["isClaiming"])
        assert (status["runs"], status["isReady"], status["drain"]) == ([], True, None)

    settings = {"MILLHAND_GPU_QUARANTINE": "1h", "MILLHAND_MAX_ATTEMPTS": "1"} | page.settings
    play(fake, tmp_path, scene, slots=1, settings=settings)


def test_an_agent_that_drains_says_so_until_its_last_run_has_ended(tmp_path: Path) -> None:
    """It is alive and not ready; neither token nor parameters are told; with the agent the page is gone."""
    page = Page()
    (tmp_path / "own.py").write_text(HANDLER)
    settings = {
        "MILLHAND_HANDLERS": str(tmp_path / "own.py"), "MILLHAND_DRAIN_TIMEOUT": "10m",
        "MILLHAND_LONG_POLL": "0", "MILLHAND_POLL_INTERVAL": "0.2", "MILLHAND_REPORT_INTERVAL": "0.2",
        **page.settings,
    }  # fmt: skip
    go = tmp_path / "go"

    async def submit(url: str, token: str) -> None:
        async with open_api(ApiConfig(url=url, token=token)) as api:
            job = await api.create_job({"title": "page", "type": "deaf"})
            parameters = {"go": str(go), "secret": "hush-hush"}
            await api.create_task({"jobId": job.id, "type": "deaf", "parameters": parameters})

    async def look(token: str, drain: Callable[[], None]) -> None:
        async with asyncio.timeout(LIMIT_S):
            await page.status(lambda status: status["runs"] and status["runs"][0]["progress"] == 0.25)
            await page.status(lambda status: status["server"]["reportAgeS"] is not None)
            assert (await page.get("/readyz")).status_code == 200
            drain()
            status = await page.status(lambda status: status["drain"])
            assert (status["drain"]["kind"], status["drain"]["message"]) == ("drained", "SIGTERM received")
            assert 0 < status["drain"]["leftS"] <= 600
            assert status["holds"][0]["by"] == "drain"
            assert (await page.get("/readyz")).status_code == 503
            assert (await page.get("/healthz")).status_code == 200
            assert (await page.metrics())["millhand_draining"] == 1
            told = (await page.get("/status")).text + (await page.get("/metrics")).text
            assert "hush-hush" not in told
            assert token not in told
        go.touch()

    with (
        running_server() as server,
        running_agent(tmp_path / "agent", server.url, server.token, slots=2, settings=settings) as agent,
    ):
        asyncio.run(submit(server.url, server.token))
        asyncio.run(look(server.token, lambda: agent.send_signal(signal.SIGTERM)))
        assert agent.wait(STOP_S) == 0
    with create_server(("127.0.0.1", page.port)):
        pass  # it is free again


def test_an_agent_whose_port_is_taken_does_not_start_and_names_the_setting(tmp_path: Path) -> None:
    """A page that is silently not there would be missed when it is needed."""
    with create_server(("127.0.0.1", 0)) as taken:
        settings = {"MILLHAND_HTTP_PORT": str(taken.getsockname()[1])}
        agent = start_agent(tmp_path / "agent", "http://127.0.0.1:9", "token", slots=1, settings=settings)
        assert agent.wait(STOP_S) == 5
    said = (tmp_path / "agent/agent.log").read_text()
    assert "Address already in use" in said
    assert "MILLHAND_HTTP_PORT" in said
