"""The minder ends whole trees, however they try to get away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.unit.minder.cradle import MARK, cradle, is_alive, until, within_limit
from worker.executor.environment import TREE_MARK
from worker.executor.minder_process import Minder
from worker.executor.sweep import end_marked
from worker.minder.trees import read_stat

WAIT = "while True: time.sleep(1)\n"
ESCAPES = {
    "daemon": """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        told('pid', os.getpid())
        while True: time.sleep(1)
    os._exit(0)
os.wait()
""",
    "stripped": """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        code = "import os,sys,time; os.setsid(); open(sys.argv[1]+'.p','w').write(str(os.getpid()));"
        code += "os.rename(sys.argv[1]+'.p', sys.argv[1]); time.sleep(1000)"
        os.closerange(0, 100)
        os.execve(sys.executable, [sys.executable, '-S', '-E', '-c', code, os.path.join(folder, 'pid')], {})
    os._exit(0)
os.wait()
""",
    "deaf": """
if os.fork() == 0:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))
    told('pid', os.getpid())
    while True: time.sleep(1)
""",
    "headless": """
import ctypes, threading
def go_on():
    with open(f'/proc/{os.getpid()}/stat') as file:
        while ') Z ' not in file.read(): file.seek(0)
    told('pid', os.getpid())
    time.sleep(1000)
if os.fork() == 0:
    threading.Thread(target=go_on).start()
    ctypes.CDLL(None).pthread_exit(None)
""",
    "stopped": """
if os.fork() == 0:
    told('pid', os.getpid())
    os.kill(os.getpid(), signal.SIGSTOP)
    while True: time.sleep(1)
""",
}


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("does_child_live", [True, False])
def test_nothing_of_a_tree_is_left(tmp_path: Path, escape: str, does_child_live: bool) -> None:
    """Whatever a child started is dead when its end is told, whether the child lived or ended before."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(ESCAPES[escape] + (WAIT if does_child_live else ""))
            pid = int(await it.told("pid"))
            assert is_alive(pid)
            if not does_child_live:
                await until(lambda: life.is_dead)
            ended = await life.end()
            assert not is_alive(pid)
            assert read_stat(pid) is None
            assert not is_alive(life.pid)
            assert ended.signal_name == ("SIGKILL" if does_child_live else None)
            assert it.processes() == []  # nor a zombie

    within_limit(scenario())


def test_other_trees_go_on(tmp_path: Path) -> None:
    """The end of one child, with its orphans, touches no other child and nothing below it."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            other = await it.start(
                "child = subprocess.Popen(['sleep', '1000'])\ntold('other', child.pid)\n" + WAIT
            )
            one = await it.start(ESCAPES["daemon"])
            sleeping, orphan = int(await it.told("other")), int(await it.told("pid"))
            await one.end()
            assert not is_alive(orphan)
            assert is_alive(sleeping)
            assert is_alive(other.pid)
            await other.end()
            assert not is_alive(sleeping)

    within_limit(scenario())


def test_a_daemon_of_another_child_goes_on(tmp_path: Path) -> None:
    """What a run started in a session of its own ends with that run, not with one beside it."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            other = await it.start(ESCAPES["daemon"] + WAIT)
            daemon = int(await it.told("pid"))
            one = await it.start(WAIT)
            await one.end()
            assert is_alive(daemon)
            await other.end()
            assert not is_alive(daemon)

    within_limit(scenario())


def test_orphans_that_ended_are_reaped_while_their_child_goes_on(tmp_path: Path) -> None:
    """A run that starts a hundred programs in the background fills no table of processes."""
    program = "for _ in range(100): subprocess.run(['/bin/sh', '-c', '/bin/true & exit 0'])\ntold('on')\n"

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(program + WAIT)
            await it.told("on")
            await until(lambda: it.processes() == [life.pid])
            await life.end()

    within_limit(scenario())


def test_a_bomb_of_forks_is_ended(tmp_path: Path) -> None:
    """Processes that start others as fast as they can, a bounded number of them at once, all end."""
    bomb = (
        """
told('lit')
for _ in range(40):
    if os.fork() == 0:
        while True:
            pid = os.fork()
            if pid == 0:
                time.sleep(0.002)
                os._exit(0)
            os.wait()
"""
        + WAIT
    )

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(bomb)
            await it.told("lit")
            await until(lambda: len(it.processes()) > 30)
            await life.end()
            assert it.processes() == []

    within_limit(scenario())


def test_an_orphan_of_a_living_child_is_a_stranger(tmp_path: Path) -> None:
    """A process that its child no longer knows is seen, so that the child is not used again."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start("told('on')\n" + WAIT)
            await it.told("on")
            assert not await it.minder.has_strangers()
            await it.start(ESCAPES["daemon"])
            await it.told("pid")
            await until(lambda: bool(it.minder.strangers()))
            assert await it.minder.has_strangers()
            await life.end()

    within_limit(scenario())


def seen_at_once(minder: Minder) -> bool:
    """Look, without a round of the loop, until a child is seen that is not known."""
    end = time.monotonic() + 10.0
    while not (strangers := minder.strangers()) and time.monotonic() < end:
        os.sched_yield()
    return bool(strangers)


def test_a_child_that_is_being_started_is_no_stranger(tmp_path: Path) -> None:
    """It is there before the minder has told of it: who asks then waits for that word, not for less."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            await it.start("told('on')\n" + WAIT)
            await it.told("on")
            starting = asyncio.create_task(it.start(WAIT))
            await asyncio.sleep(0)  # the order is given, and nothing the minder says is heard before we wait
            assert seen_at_once(it.minder)
            assert not starting.done()
            assert not await it.minder.has_strangers()
            assert not it.minder.strangers()
            await starting

    within_limit(scenario())


def test_a_child_that_must_not_be_signalled_ends_no_minder() -> None:
    """A child that became another user's, by a program that may, is waited for; every other run goes on."""
    code = (
        "import os; from worker.minder.ending import Ending\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "print(Ending(1, lambda: False).step(is_dead=False, marks={1: ''}))"  # which no signal kills at all
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.stderr == b""
    assert float(done.stdout) > 0


def test_without_its_agent_everything_ends(tmp_path: Path) -> None:
    """An agent that is killed takes the minder, every child, and what they started, with it."""
    agent = f"""
import asyncio, sys
from pathlib import Path
from tests.unit.minder.cradle import Cradle, MARK
from worker.executor.minder_process import Minder

async def main():
    it = Cradle(Minder(mark=MARK), Path({str(tmp_path)!r}))
    await it.start({ESCAPES["stripped"] + WAIT!r})
    await it.told("pid")
    print(it.minder.pid, it.lives[0].pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""

    command = [sys.executable, "-c", agent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        pids.append(int((tmp_path / "pid").read_text()))
        assert all(is_alive(pid) for pid in pids)
        process.kill()
    within_limit(until(lambda: not any(is_alive(pid) for pid in pids)))


def test_a_killed_minder_leaves_nothing_and_is_replaced(tmp_path: Path) -> None:
    """Its children end with it, what they started is found, who waits is told, and the next start works."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(ESCAPES["daemon"] + WAIT)
            orphan = int(await it.told("pid"))
            os.kill(it.minder.pid, signal.SIGKILL)
            ended = await life.end()
            assert ended.is_minder_lost
            assert not is_alive(life.pid)
            assert not is_alive(orphan)
            (tmp_path / "pid").unlink()
            again = await it.start("told('pid', os.getpid())")
            assert int(await it.told("pid")) == again.pid
            await again.end()

    within_limit(scenario())


def test_a_minder_that_is_killed_at_the_end_leaves_nothing(tmp_path: Path) -> None:
    """The agent, which ends just then itself, does what the minder did not come to."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            await it.start(ESCAPES["daemon"] + WAIT)
            orphan = int(await it.told("pid"))
            os.kill(it.minder.pid, signal.SIGSTOP)
            pid, closing = it.minder.pid, asyncio.create_task(it.minder.aclose())
            await asyncio.sleep(0)  # it has hung up
            os.kill(pid, signal.SIGKILL)
            await closing
            assert not is_alive(orphan)

    within_limit(scenario())


def test_what_carries_a_mark_is_found_and_ended(tmp_path: Path) -> None:
    """After agent and minder were both killed, the next agent finds the rest by the mark."""
    code = "import os, time; os.fork() and os._exit(0); os.setsid(); print(os.getpid(), flush=True)"
    command = [sys.executable, "-S", "-E", "-c", f"{code}; time.sleep(1000)"]
    mark = f"mark-of-a-killed-agent-{uuid4().hex}"
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={TREE_MARK: f"{mark}/of-a-child"}) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
    assert asyncio.run(end_marked("mark-of-another")) == asyncio.run(end_marked(mark[:-1])) == 0
    assert is_alive(pid)
    assert asyncio.run(end_marked(mark)) == 1
    assert not is_alive(pid)
    assert mark != MARK
