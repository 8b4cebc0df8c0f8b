"""A minder with nothing to do sleeps: what it waits for wakes it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.minder.cradle import cradle, until, within_limit
from worker.executor import minder_process

STILL_S = 3.5  # more than three ticks of a second, if there were any
LOOKS = 4  # of which one must find it still: it may have something to finish on a busy machine
WITHOUT_A_POOL = """
import sys
descriptor, root, name = sys.argv[1:]
sys.path.insert(0, root)
from worker.minder import main, pool
pool.PoolMemory.read = lambda self: None
main.main(int(descriptor), name)
"""
ORPHANS = '''
signal.signal(signal.SIGUSR1, lambda *_: None)
told('ready')
while True:
    signal.pause()
    subprocess.run([sys.executable, '-S', '-E', '-c', """
import os
ended = [os.fork() or os._exit(0) for _ in range(100)]
for pid in ended:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
"""])
    told('ended')
'''


def wakes(pid: int) -> int:
    """Return how often the minder, which has one thread, has begun to wait."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split(None, 1)[0])


async def until_still(pid: int) -> None:
    """Wait until nothing has woken the minder for some time."""
    woken = []
    for _ in range(LOOKS):
        before = wakes(pid)
        await asyncio.sleep(STILL_S)
        woken.append(wakes(pid) - before)
        if woken[-1] == 0:
            return
    pytest.fail(f"wake-ups in {STILL_S} s, each time: {woken}")


def test_nothing_wakes_it_while_its_children_idle_but_the_end_of_an_orphan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not beside children that wait for work, where no memory is shared; a hundred orphans, a few times."""
    monkeypatch.setattr(minder_process, "CODE", WITHOUT_A_POOL)

    async def scenario() -> None:
        async with cradle(tmp_path, has_groups=False) as it:
            life = await it.start(ORPHANS)
            await it.told("ready")
            await until_still(it.minder.pid)
            before = wakes(it.minder.pid)
            life.signal(10)
            await it.told("ended")
            await until(lambda: it.processes() == [life.pid])
            assert before < wakes(it.minder.pid) < before + 50
            await life.end()

    within_limit(scenario())
