"""Child processes of the command line."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from worker.cli.children import TAIL_LINES, Child

LIMIT_S = 20.0


def run(coroutine: object) -> None:
    """Run a scenario within its limit."""

    async def within() -> None:
        async with asyncio.timeout(LIMIT_S):
            await coroutine  # type: ignore[misc]

    asyncio.run(within())


def wait_until_dead(pid: int) -> None:
    """Wait until a process is gone, or a zombie that whoever adopted it has yet to collect."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    raise TimeoutError(f"process {pid} still runs")


def test_output_is_forwarded_line_by_line_and_the_end_is_told() -> None:
    """Each line comes once, with what the child wrote to either stream."""
    lines: list[str] = []

    async def scenario() -> None:
        child = await Child.start("probe", ["--version"], {}, lines.append)
        assert await child.wait() == 0
        assert child.ended() == "the probe ended with exit code 0"
        assert list(child.tail) == lines
        await child.aclose()

    run(scenario())
    assert len(lines) == 1
    assert lines[0].startswith("millhand ")


def test_a_flood_of_output_is_bounded(tmp_path: Path) -> None:
    """A line without end is cut, and only the last lines are kept."""
    flood = "import sys; [print('x' * 10) for _ in range(1000)]; sys.stdout.write('y' * 300_000)"
    lines: list[str] = []

    async def scenario() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", flood, stdout=asyncio.subprocess.PIPE, limit=64 * 1024
        )
        child = Child("flood", process, lines.append)
        assert await child.wait() == 0
        assert len(child.tail) == TAIL_LINES
        assert max(map(len, child.tail)) <= 128 * 1024
        assert sum(map(len, lines)) == 310_000
        await child.aclose()

    run(scenario())


def test_a_child_that_does_not_end_is_killed_with_its_group() -> None:
    """After the grace nothing of it is left."""
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        " print(p.pid, flush=True); time.sleep(600)"
    )

    async def scenario() -> None:
        ready = asyncio.get_running_loop().create_future()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", stubborn, stdout=asyncio.subprocess.PIPE, process_group=0
        )
        child = Child("stubborn", process, lambda line: None if ready.done() else ready.set_result(line))
        grandchild = int(await ready)
        assert await child.stop(grace_s=0.1) == -signal.SIGKILL
        assert child.ended() == "the stubborn was ended by SIGKILL"
        await asyncio.to_thread(wait_until_dead, grandchild)
        await child.aclose()

    run(scenario())


def test_a_child_whose_parent_is_gone_ends() -> None:
    """The kernel tells it, and one that comes too late looks itself."""
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "worker.cli.main", "--version"],
        env={**os.environ, "MILLHAND_PARENT_PID": "1"}, capture_output=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert ran.returncode == 128 + signal.SIGTERM
    assert ran.stdout == b""
