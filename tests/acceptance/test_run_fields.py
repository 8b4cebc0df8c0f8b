"""A run as the server returns it, field by field: what the reference documents, what we measured."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from server.testing import RunningServer, running_server
from tests.acceptance.agents import running_agent
from tests.contract.reference import INSTANT, RUN, assert_shape
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig
from worker.machine.detect import detect

LIMIT_S = 60.0  # a bound for a hang, not a measure
MIB = 1024 * 1024
HANDLERS = '''
"""Handlers of known appetite."""
import subprocess, sys, time
from worker import Context, Fail, handler

@handler("burn")
def burn(ctx: Context, *, cpu_s: float, hold_mib: int) -> dict:
    """Use CPU for a time, and hold memory."""
    block = bytearray(hold_mib << 20)
    end = time.process_time() + cpu_s
    while time.process_time() < end:
        pass
    ctx.progress(0.5, "half way")
    ctx.log("burnt")
    out = ctx.workdir / "ashes.txt"
    out.write_text("ashes")
    ctx.artifact(out)
    return {"held": len(block)}

@handler("break")
def break_(ctx: Context) -> dict:
    """Fail as a program fails."""
    print("about to divide")
    return {"never": 1 / 0}

@handler("give-up")
def give_up(ctx: Context) -> dict:
    """Fail on purpose."""
    raise Fail("the input has no faces")
'''


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Execute one task of each type; give the runs by type, with the seconds that passed outside."""
    folder = tmp_path_factory.mktemp("fields")
    (folder / "own.py").write_text(HANDLERS)
    settings = {
        "MILLHAND_HANDLERS": str(folder / "own.py"), "MILLHAND_ZONE": "rack-7",
        "MILLHAND_PREEMPTIBLE": "true", "MILLHAND_REQUEST_CPUS": "1.5", "MILLHAND_REQUEST_RAM": "536870912",
    }  # fmt: skip
    with (
        running_server() as server,
        running_agent(folder / "agent", server.url, server.token, slots=1, settings=settings),
    ):
        yield asyncio.run(executed(server))


async def executed(server: RunningServer) -> dict[str, dict[str, Any]]:
    """Have one task of each type executed."""
    tasks = {
        "burn": {"cpu_s": 0.5, "hold_mib": 96}, "break": {}, "give-up": {},
        "sleep": {"seconds": "soon", "x": 1},
    }  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
        for type_, parameters in tasks.items():
            began_mono = time.monotonic()
            job = await api.create_job({"title": type_, "type": type_})
            task = await api.create_task({"jobId": job.id, "type": type_, "parameters": parameters})
            run = await ended(api, task.id)
            found[type_] = {**run, "job": job.id, "task": task.id, "passed_s": time.monotonic() - began_mono}
    return found


async def ended(api: JobsApi, task_id: str) -> dict[str, Any]:
    """Return the run of a task once it has stopped."""
    give_up_mono = time.monotonic() + LIMIT_S
    while True:
        listed = await api.list_runs(task_id=task_id)
        if listed and listed[0].stopped_at:
            return (await api.get_run(listed[0].id)).raw
        assert time.monotonic() < give_up_mono, f"the run did not stop: {listed}"
        await asyncio.sleep(0.05)


def test_every_documented_field_is_there_with_its_type(runs: dict[str, dict[str, Any]]) -> None:
    """And none is left out where its value is unknown."""
    for run in runs.values():
        assert_shape({name: run[name] for name in run if name not in ("job", "task", "passed_s")}, RUN)


def test_the_run_says_what_it_belongs_to_and_when(runs: dict[str, dict[str, Any]]) -> None:
    """Ids, identity and times of the wire."""
    run = runs["burn"]
    assert (run["taskId"], run["jobId"]) == (run["task"], run["job"])
    assert re.fullmatch(rf"{re.escape(socket.gethostname())}/[0-9a-f-]{{36}}", run["podId"])
    assert all(INSTANT.fullmatch(run[name]) for name in ("createdAt", "startedAt", "stoppedAt", "updatedAt"))
    assert run["startedAt"] <= run["stoppedAt"]
    assert run["reportProgress"] is True


def test_the_facts_are_those_of_this_machine(runs: dict[str, dict[str, Any]]) -> None:
    """Each field as psutil and the detectors see it here; unknown and absent are null."""
    run = runs["burn"]
    facts = asyncio.run(detect({}))
    assert run["nodeCPUs"] == psutil.cpu_count()
    assert run["nodeRAM"] == psutil.virtual_memory().total
    for name in ("limitCPUs", "limitRAM", "cpuPlatform", "machineType", "gpuType", "instanceID"):
        assert run[name] == getattr(facts, name).value, name
    assert (run["zone"], run["preemptible"]) == ("rack-7", True)
    assert (run["requestCPUs"], run["requestRAM"]) == (1.5, 536870912)


def test_each_fact_comes_with_its_source_or_the_reason_why_it_is_unknown(
    runs: dict[str, dict[str, Any]],
) -> None:
    """In `machine`, fact by fact."""
    for name, fact in runs["burn"]["machine"].items():
        assert fact["state"] in ("measured", "absent", "unknown"), name
        assert fact["reason" if fact["state"] == "unknown" else "source"], name
        assert (fact["value"] is not None) == (fact["state"] == "measured"), name


def test_a_success_carries_result_files_log_and_bill(runs: dict[str, dict[str, Any]]) -> None:
    """The handler's values at the top of `results`, the rest beside them."""
    run = runs["burn"]
    assert (run["resultCode"], run["error"], run["progress"]) == ("Success", None, 1)
    results = run["results"]
    assert results["held"] == 96 * MIB
    (file,) = results["files"]
    assert (file["name"], file["size"], file["contentType"]) == ("ashes.txt", 5, "text/plain")
    assert file["sha256"] == hashlib.sha256(b"ashes").hexdigest()
    assert Path(file["url"].removeprefix("file://")).read_text() == "ashes"
    assert "burnt" in results["logTail"]


def test_the_bill_is_what_the_handler_used(runs: dict[str, dict[str, Any]]) -> None:
    """Seconds and bytes, the same in the run's fields and, with methods, in `results.usage`."""
    run, usage = runs["burn"], runs["burn"]["results"]["usage"]
    assert 0.5 <= run["CPUTime"] <= run["passed_s"] + 0.1
    assert 0.5 <= run["wallClockTime"] <= run["passed_s"]
    assert 96 * MIB <= run["RAMUsage"] <= 96 * MIB + 120 * MIB
    assert run["GPUTime"] == 0
    assert usage["cpuUserSeconds"] + usage["cpuSystemSeconds"] == pytest.approx(run["CPUTime"], abs=1e-5)
    assert (usage["wallSeconds"], usage["ramPeakBytes"]) == (run["wallClockTime"], run["RAMUsage"])
    assert usage["complete"] is True
    assert set(usage["methods"]) >= {"wall_s", "cpu_user_s", "ram_peak_bytes"}


def test_a_failure_says_why_as_text_and_structured(runs: dict[str, dict[str, Any]]) -> None:
    """`error` is kind and message; `results.error` has the author's traceback, without our frames."""
    run = runs["break"]
    assert run["resultCode"] == "Failed"
    assert run["error"] == "handler_error: ZeroDivisionError: division by zero"
    error = run["results"]["error"]
    assert (error["kind"], error["retryable"]) == ("handler_error", False)
    assert "own.py" in error["traceback"]
    assert "1 / 0" in error["traceback"]
    assert "worker/executor" not in error["traceback"]
    assert "about to divide" in run["results"]["logTail"]
    assert run["CPUTime"] is not None


def test_a_failure_on_purpose_shows_its_words_alone(runs: dict[str, dict[str, Any]]) -> None:
    """No traceback: the author said what a user needs to know."""
    run = runs["give-up"]
    assert run["error"] == "handler_error: the input has no faces"
    assert run["results"]["error"]["traceback"] is None


def test_parameters_that_do_not_fit_are_named_each(runs: dict[str, dict[str, Any]]) -> None:
    """Before the handler starts."""
    run = runs["sleep"]
    assert run["error"].startswith("invalid_parameters: ")
    assert "seconds" in run["error"]
    assert "x" in run["error"]
