"""What a process says of itself when SIGUSR1 asks: where every thread and task is at, and no value."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from worker import stacks

LIMIT_S = 60.0  # a bound for a hang, not a measure

PROGRAM = """
import asyncio, signal, sys
from worker import log, stacks

async def deep(hush):
    await asyncio.Event().wait()

async def outer(hush):
    await deep(hush)

def stuck_here(hush):
    while True:
        pass

def waiting_here(hush):
    sys.stdin.read(1)

async def main():
    log.configure("info", "json")
    stacks.dump_on_signal()
    tasks = [asyncio.create_task(outer("hush-hush")) for _ in range(3)]
    await asyncio.sleep(0)
    print("ready", flush=True)
    {"stuck": stuck_here, "waiting": waiting_here}[sys.argv[1]]("hush-hush")
    print("went on", flush=True)

asyncio.run(main())
"""


async def inner_most(secret: str, reached: asyncio.Event) -> None:
    """Wait for ever."""
    reached.set()
    await asyncio.Event().wait()


async def generated(secret: str, reached: asyncio.Event) -> None:
    """Wait in another coroutine."""
    await inner_most(secret, reached)


def test_a_task_is_told_with_all_that_it_waits_in() -> None:
    """To the innermost coroutine; equal ones are counted, and values of variables do not stand there."""

    async def main() -> str:
        events = [asyncio.Event() for _ in range(3)]
        tasks = [asyncio.create_task(generated("hush-hush", event)) for event in events]
        await asyncio.gather(*(event.wait() for event in events))
        try:
            return await asyncio.to_thread(stacks.stacks, asyncio.get_running_loop())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    said = asyncio.run(main())
    assert "(3 alike)" in said
    (block,) = (block for block in said.split("\n\n") if "inner_most" in block)
    assert block.index("generated") < block.index("inner_most") < block.index("locks.py")
    assert f"thread {threading.main_thread().name}" in said
    assert "hush-hush" not in said


def test_a_deep_stack_is_cut_from_outside() -> None:
    """The innermost frames tell what it is at; how many are left out is told."""
    lines = stacks.innermost(iter(map(str, range(100))))
    assert len(lines) == stacks.FRAMES_MAX + 1
    assert (lines[0], lines[-1]) == (f"… {100 - stacks.FRAMES_MAX} more", "99")
    assert stacks.innermost(iter(["a"])) == ["a"]


@pytest.mark.parametrize(("how", "where"), [("stuck", "stuck_here"), ("waiting", "waiting_here")])
def test_a_signal_writes_the_stacks_into_the_log_also_where_the_loop_is_stuck(how: str, where: str) -> None:
    """In Python's own code, and in a call that waits: then a loop's own handler would never be called."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "ready\n"
            for _ in range(2):  # it goes on, and can be asked again
                process.send_signal(signal.SIGUSR1)
                lines: list[dict[str, Any]] = []
                while not lines or lines[-1]["event"] != "stacks.dumped":
                    lines.append(json.loads(process.stderr.readline()))
                (main,) = (line for line in lines if line.get("thread") == "MainThread")
                assert where in " ".join(main["stack"])
                (tasks,) = (line for line in lines if "deep" in str(line.get("stack")))
                assert (tasks["count"], "hush" in json.dumps(lines)) == (3, False)
            if how == "waiting":
                assert process.communicate("x", timeout=LIMIT_S)[0] == "went on\n"
                assert process.returncode == 0
        finally:
            process.kill()
