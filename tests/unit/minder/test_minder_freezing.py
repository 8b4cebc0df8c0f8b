"""The minder has trees stand still and go on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.unit.minder.cradle import boot_s, cradle, until, within_limit
from worker.minder.freezing import thaw_tree
from worker.minder.trees import read_stat

WAIT = "while True: time.sleep(1)\n"
COUNTING = """
if os.fork() == 0:
    os.setsid()
    while True:
        with open(os.path.join(folder, 'count'), 'a') as file: file.write('.')
        time.sleep(0.001)
"""


def test_a_frozen_tree_stands_still_until_it_may_go_on(tmp_path: Path) -> None:
    """Everything below the child stops, in other sessions too; what its handler had stopped stays stopped."""
    stopped = "if (pid := os.fork()) == 0:\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    stopped += "    told('woken')\n    os._exit(0)\ntold('sleeper', pid)\n"

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(COUNTING + stopped + WAIT)
            sleeper = int(await it.told("sleeper"))
            await until(lambda: state_of(sleeper) == "T")
            await until(lambda: size_of(tmp_path / "count") > 3)
            life.guard(None, None, boot_s() - 1)
            await until(lambda: life.is_frozen)
            assert {state_of(pid) for pid in it.processes()} == {"T"}
            before = size_of(tmp_path / "count")
            life.guard(None, None, boot_s() - 0.5)
            life.guard(None, None, boot_s() + 100)
            await until(lambda: not life.is_frozen)
            await until(lambda: size_of(tmp_path / "count") > before)
            assert state_of(sleeper) == "T"
            assert not (tmp_path / "woken").exists()
            life.guard(boot_s() + 0.05, None, boot_s() - 1)
            await until(lambda: life.overrun)  # its deadline counts while it stands
            await life.end()
            assert it.processes() == []

    within_limit(scenario())


def test_a_tree_that_stood_still_by_itself_counts_as_frozen_and_thawed(tmp_path: Path) -> None:
    """Where there was nothing to stop the agent still hears that the run may go on."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start("os.kill(os.getpid(), signal.SIGSTOP)\n" + WAIT)
            await until(lambda: state_of(life.pid) == "T")
            life.guard(None, None, boot_s() - 1)
            await until(lambda: life.is_frozen)
            life.guard(None, None, boot_s() + 100)
            await until(lambda: not life.is_frozen)
            assert state_of(life.pid) == "T"

    within_limit(scenario())


def test_a_tree_that_cannot_be_looked_at_now_goes_on_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no descriptor is free nothing is forgotten: who stands still is let go the next time."""

    def refuse(pid: int) -> int:
        raise OSError(errno.ENFILE, "no descriptor is free")

    with subprocess.Popen(["sleep", "1000"]) as process:
        stat = read_stat(process.pid)
        assert stat is not None
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        frozen = {stat.key: stat}
        with monkeypatch.context() as patch:
            patch.setattr(os, "pidfd_open", refuse)
            with pytest.raises(OSError, match="no descriptor"):
                thaw_tree(frozen)
        thaw_tree(frozen)
        assert frozen == {}
        assert os.waitid(os.P_PID, process.pid, os.WCONTINUED) is not None
        process.kill()


def state_of(pid: int) -> str:
    """Return the state of a process; "" where there is none."""
    stat = read_stat(pid)
    return "" if stat is None else stat.state


def size_of(path: Path) -> int:
    """Return how much a file holds."""
    return path.stat().st_size if path.exists() else 0
