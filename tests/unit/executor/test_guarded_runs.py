"""Limits that hold although the agent itself cannot act, and memory, by the run that passed it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.executor.bench import bench, within_limit
from tests.unit.minder.cradle import is_alive, until
from worker.api.wire import ErrorKind
from worker.clock import SystemClock
from worker.executor import held_limits
from worker.executor.assignment import Assignment
from worker.executor.executor import StopRequest
from worker.executor.lease import Lease
from worker.executor.life import Life
from worker.executor.spawn import ProcessSpawner

MIB = 1024**2
HANDLERS = '''
"""Handlers that take what they should not."""
import os, subprocess, sys, time
from worker import Context, handler

@handler("eat")
def eat(ctx: Context, *, mib: int) -> dict:
    """Fill memory step by step, in a process of its own."""
    code = "import sys\\nheld = []\\nfor _ in range(int(sys.argv[1])): held.append(bytearray(1 << 20))"
    subprocess.run([sys.executable, "-S", "-c", code, str(mib)], stdin=subprocess.PIPE, check=True)
    return {}

@handler("hang")
def hang(ctx: Context) -> dict:
    """Tell the pid of the agent's child, then go on for ever."""
    subprocess.Popen(["sleep", "1000"])
    ctx.progress(0.5, str(os.getpid()))
    while True:
        time.sleep(1)
'''


@pytest.mark.parametrize("has_groups", [True, False])
def test_a_run_above_its_memory_fails_for_it(tmp_path: Path, has_groups: bool) -> None:
    """The limit that the task has, what it used and who used it stand in the error; the next run works."""
    path = tmp_path / "handlers.py"
    path.write_text(HANDLERS)

    async def scenario() -> None:
        spawner = ProcessSpawner(has_groups=has_groups)
        async with bench(tmp_path, handlers=path, spawner=spawner) as it:
            error = (await it.run("eat", mib=2000, limits={"memory": 200 * MIB})).error
            assert error is not None
            assert error.kind is ErrorKind.OUT_OF_MEMORY
            assert "its limit of 200 MiB" in error.message
            assert error.retryable is False
            if not has_groups:
                assert "was in process" in error.message
                assert "python" in error.message
            done = await it.run("eat", mib=10, limits={"memory": 200 * MIB})
            assert done.error is None or done.error.kind is not ErrorKind.OUT_OF_MEMORY

    within_limit(scenario())


def test_a_frozen_agent_does_not_let_a_run_go_on(tmp_path: Path) -> None:
    """The minder ends the tree at its time limit although the agent cannot run; the agent tells it later."""
    path = tmp_path / "handlers.py"
    path.write_text(HANDLERS)
    agent = f"""
import asyncio
from pathlib import Path
from tests.unit.executor.bench import bench
from worker.executor import steering
from worker.executor.executor import ProgressEvent
from worker.executor.limits import Limits

steering.GUARD_MARGIN_S = steering.LIMIT_GRACE_S = 0.1

async def main():
    folder, handlers = Path({str(tmp_path)!r}), Path({str(path)!r})
    async with bench(folder, handlers=handlers, limits=Limits(timeout_s=1.0)) as it:
        tell = lambda event: print(event.message, flush=True) if isinstance(event, ProgressEvent) else None
        outcome = await it.run("hang", on_event=tell)
        print("ended", outcome.error.kind, flush=True)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", agent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGSTOP)
        try:
            within_limit(until(lambda: not is_alive(child)))
        finally:
            os.kill(process.pid, signal.SIGCONT)
        told = process.stdout.read().split()
    assert told[-2:] == ["ended", "timeout"]


def test_a_stream_of_short_runs_costs_few_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease is held for one after the other without a word to the minder, and lifted from an idle child."""
    orders: list[float | None] = []
    real = Life.guard

    def counting(life: Life, *limits: Any) -> None:
        orders.append(limits[2])
        real(life, *limits)

    monkeypatch.setattr(Life, "guard", counting)
    monkeypatch.setattr(held_limits, "RELIEF_S", 0.2)
    clock = SystemClock()

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            for at in range(20):
                lease = Lease()
                lease.renew(clock.mono(), 90.0)
                assignment = Assignment(run_id=f"run-{at}", task_id="task", type="noop")
                outcome = await it.executor.execute(assignment, StopRequest(), it.events.append, lease)
                assert outcome.error is None
            assert 1 <= len(orders) <= 3
            assert all(freeze_s is not None for freeze_s in orders[:1])
            await until(lambda: orders[-1] is None)

    within_limit(scenario())
