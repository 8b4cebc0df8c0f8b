"""What a container engine starts for a run is below the engine; by its mark the minder ends and holds it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.unit.minder.cradle import boot_s, cradle, is_alive, until, within_limit
from worker.executor.environment import TREE_MARK
from worker.minder.kin import mark_owner
from worker.minder.trees import read_stat

TELL_MARK = f"told('mark', os.environ[{TREE_MARK!r}])\nwhile True: time.sleep(1)\n"
FAMILY = (
    "import os, subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'], "
    "env={}, stdout=subprocess.DEVNULL); "
    "print(child.pid, flush=True); time.sleep(1000)"
)
MONITOR = """
code = ("import os, subprocess, sys, time; env = dict(PATH=os.environ['PATH'], MILLHAND_TREE=sys.argv[1]);"
        " child = subprocess.Popen(['sleep', '1000'], env=env);"
        " open(sys.argv[2] + '.p', 'w').write(str(os.getpid()));"
        " os.rename(sys.argv[2] + '.p', sys.argv[2]); time.sleep(1000)")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        argv = [sys.executable, '-S', '-E', '-c', code]
        argv += [os.environ['MILLHAND_TREE'], os.path.join(folder, 'monitor')]
        os.execve(sys.executable, argv, {'PATH': os.environ['PATH']})
    os._exit(0)
os.wait()
while True: time.sleep(1)
"""


def family(mark: str) -> tuple[subprocess.Popen[str], int]:
    """Start a process that carries a mark, beside the minder, with an unmarked one below it."""
    started = subprocess.Popen(
        [sys.executable, "-c", FAMILY], env={TREE_MARK: mark, "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stdout is not None
    return started, int(started.stdout.readline())


def test_marked_processes_elsewhere_end_with_their_child(tmp_path: Path) -> None:
    """And what is below them; those of another mark and of none go on."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(TELL_MARK)
            mark = await it.told("mark")
            ours, below = family(mark)
            other, other_below = family(mark[:-1] + ("0" if mark[-1] != "0" else "1"))
            try:
                await life.end()
                assert not is_alive(ours.pid)
                assert not is_alive(below)
                assert is_alive(other.pid)
                assert is_alive(other_below)
            finally:
                for one in (ours, other):
                    one.kill()
                    one.communicate()
                os.kill(other_below, 9)

    within_limit(scenario())


def test_they_stand_still_with_their_child(tmp_path: Path) -> None:
    """At the end of a lease somebody else may run the task: nothing of it goes on here."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(TELL_MARK)
            ours, below = family(await it.told("mark"))
            try:
                life.guard(None, None, boot_s())
                await until(lambda: life.is_frozen)
                await until(lambda: {state(ours.pid), state(below)} == {"T"})
                life.guard(None, None, None)
                await until(lambda: not life.is_frozen)
                await until(lambda: "T" not in {state(ours.pid), state(below)})
                await life.end()
                assert not is_alive(below)
            finally:
                ours.kill()
                ours.communicate()

    within_limit(scenario())


def test_a_monitor_without_a_mark_belongs_to_the_run_of_its_container(tmp_path: Path) -> None:
    """Podman's monitor becomes the minder's own child; the end of another run is not its end."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(MONITOR)
            monitor = int(await it.told("monitor"))
            one = await it.start("while True: time.sleep(1)\n")
            await one.end()
            await asyncio.sleep(0)
            assert is_alive(monitor)
            await life.end()
            assert not is_alive(monitor)

    within_limit(scenario())


def state(pid: int) -> str:
    """Return the state of a process."""
    stat = read_stat(pid)
    assert stat is not None
    return stat.state


def test_a_mark_behind_a_large_environment_is_found() -> None:
    """Nobody hides from the end of its run behind variables of its own."""
    padding = {f"V{number}": "x" * 120_000 for number in range(10)}
    with subprocess.Popen(
        [sys.executable, "-S", "-c", "print(flush=True); input()"],
        env={**padding, TREE_MARK: "agent/of-a-child"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        stat = read_stat(process.pid)
        assert stat is not None
        assert mark_owner(stat, {"of-a-child": 42}) == 42
        assert mark_owner(stat, {"of-another": 42}) is None
