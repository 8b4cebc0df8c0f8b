"""The minder holds limits by itself, whatever the agent does."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.unit.minder.cradle import boot_s, cradle, is_alive, until, within_limit
from worker.executor import minder_process
from worker.minder.guard import Pool, look_again_s, measure_tree
from worker.minder.trees import read_stat

MIB = 1024**2
WAIT = "while True: time.sleep(1)\n"


def test_a_deadline_is_held(tmp_path: Path) -> None:
    """A tree is killed at its time, native code with every signal blocked included, and the agent is told."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(
                "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\ntold('on')\n" + WAIT
            )
            await it.told("on")
            life.guard(boot_s() + 0.05, None)
            await until(lambda: life.overrun)
            assert life.overrun is not None
            assert life.overrun.why == "deadline"
            assert (await life.end()).signal_name == "SIGKILL"

    within_limit(scenario())


def test_a_child_that_died_before_its_deadline_did_not_pass_it(tmp_path: Path) -> None:
    """An agent that stood still hears how the child ended, and what is left below it is killed in time."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(
                "if (pid := os.fork()) == 0: time.sleep(1000)\ntold('below', pid)\nos._exit(3)"
            )
            below = int(await it.told("below"))
            await until(lambda: life.is_dead)
            life.guard(boot_s() - 1, None)
            ended = await life.ended
            assert (ended.code, life.overrun) == (3, None)
            assert not is_alive(below)

    within_limit(scenario())


def test_a_deadline_that_is_taken_back_kills_nobody(tmp_path: Path) -> None:
    """The child of a run that ended in time lives on; a nearer deadline of another child is held."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            spared = await it.start("told('spared')\n" + WAIT)
            other = await it.start("told('other')\n" + WAIT)
            await it.told("spared")
            await it.told("other")
            spared.guard(boot_s() + 0.2, None)
            spared.guard(None, None)
            other.guard(boot_s() + 0.3, None)
            await until(lambda: other.overrun)
            assert spared.overrun is None
            assert is_alive(spared.pid)

    within_limit(scenario())


WAIT_FOR_SIGNAL = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
told('on')
signal.sigwait([signal.SIGUSR1])
"""
EATER = """
eater = subprocess.Popen([sys.executable, '-S', '-E', '-c', "held = bytearray(150 << 20); input()"],
                         stdin=subprocess.PIPE)
told('eater', eater.pid)
held = bytearray(20 << 20)
"""


def test_a_run_above_its_memory_is_killed(tmp_path: Path) -> None:
    """Without a control group the tree counts as a whole; who held most is named, with sizes."""

    async def scenario() -> None:
        async with cradle(tmp_path, has_groups=False) as it:
            life = await it.start(EATER + WAIT)
            life.guard(None, 100 * MIB)
            eater = int(await it.told("eater"))
            await until(lambda: life.overrun)
            seen = life.overrun
            assert seen is not None
            assert (seen.why, seen.limit_bytes, seen.pid) == ("memory", 100 * MIB, eater)
            assert seen.used_bytes is not None
            assert seen.used_bytes > 100 * MIB
            assert seen.pid_bytes is not None
            assert seen.pid_bytes <= seen.used_bytes
            await life.end()
            assert not is_alive(eater)

    within_limit(scenario())


def test_a_daemon_counts_for_its_run_alone(tmp_path: Path) -> None:
    """What left its parent and its session is memory of the run that started it, and of no other."""
    daemon = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        held = bytearray(150 << 20)
        told('daemon', os.getpid())
        time.sleep(1000)
    os._exit(0)
os.wait()
"""

    async def scenario() -> None:
        async with cradle(tmp_path, has_groups=False) as it:
            beside = await it.start("told('on')\n" + WAIT)
            life = await it.start(daemon + WAIT)
            pid = int(await it.told("daemon"))
            beside.guard(None, 100 * MIB)
            life.guard(None, 100 * MIB)
            await until(lambda: life.overrun)
            assert life.overrun is not None
            assert (life.overrun.why, life.overrun.pid) == ("memory", pid)
            await life.end()
            assert not is_alive(pid)
            assert beside.overrun is None

    within_limit(scenario())


FULL_WHILE_ONE_IS_THERE = """
import os, sys
descriptor, root, name = sys.argv[1:]
sys.path.insert(0, root)
from worker.minder import ending, main, pool

def step(self, seen={}, **given):
    seen[self._pid] = seen.get(self._pid, 0) + 1
    return real(self, **given) if seen[self._pid] > 10 else 0.05

def read(self):
    return (1000 << 20 if os.path.exists('/proc/' + open(HELD).read()) else 0, 1000 << 20)

real, ending.Ending.step, pool.PoolMemory.read = ending.Ending.step, step, read
main.main(int(descriptor), name)
"""


def test_one_run_ends_for_a_full_container_not_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed run held takes a moment to come free: nobody else is killed for it meanwhile."""
    held = tmp_path / "held"
    held.write_text("none")
    monkeypatch.setattr(minder_process, "CODE", f"HELD = {str(held)!r}{FULL_WHILE_ONE_IS_THERE}")

    async def scenario() -> None:
        async with cradle(tmp_path, has_groups=False) as it:
            small = await it.start("told('small')\n" + WAIT)
            large = await it.start("held = bytearray(150 << 20)\ntold('large')\n" + WAIT)
            await it.told("small")
            await it.told("large")
            held.write_text(str(large.pid))
            await until(lambda: large.overrun)
            assert large.overrun is not None
            assert large.overrun.why == "pool"
            await large.end()
            assert small.overrun is None

    within_limit(scenario())


def test_a_run_in_a_group_ends_whole_at_its_limit(tmp_path: Path) -> None:
    """Whether guard or kernel was first: the rest of a run does not go on with half of it."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(WAIT_FOR_SIGNAL + EATER + WAIT)
            await it.told("on")
            if life.oom_kills() is None:
                pytest.skip("no control group with memory can be made here")
            life.guard(None, 100 * MIB)
            life.signal(signal.SIGUSR1)  # orders are obeyed one after the other
            await until(lambda: life.overrun or life.is_dead)
            ended = await life.end()
            assert ended.oom_kills or (life.overrun is not None and life.overrun.why == "memory")
            assert ended.signal_name == "SIGKILL"
            assert ended.group_peak_bytes is not None
            assert ended.group_peak_bytes > 90 * MIB
            assert it.processes() == []

    within_limit(scenario())


def test_memory_that_forks_share_counts_once(tmp_path: Path) -> None:
    """Eight workers that share 100 MiB do not have 800: nobody is killed for pages that are not there."""
    program = (
        """
held = bytearray(os.urandom(1 << 20)) * 100
for _ in range(8):
    if os.fork() == 0:
        while True: time.sleep(1)
told('forked')
"""
        + WAIT
    )

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(program)
            await it.told("forked")
            tree = [stat for pid in it.processes() if (stat := read_stat(pid)) is not None]
            upper = measure_tree(tree, 10_000 * MIB)
            exact = measure_tree(tree, 300 * MIB)
            assert upper.used_bytes > 800 * MIB
            assert 100 * MIB <= exact.used_bytes < 200 * MIB
            life.guard(boot_s() + 1.5, 300 * MIB)
            await until(lambda: life.overrun)
            assert life.overrun is not None
            assert life.overrun.why == "deadline"  # memory was looked at meanwhile, and let it be

    within_limit(scenario())


@pytest.mark.parametrize(
    ("used_mib", "limit_mib", "headroom_mib"),
    [(100, 1000, 850), (990, 1000, -40), (0, 100_000, 99_936), (960, 1000, -10)],
)
def test_a_container_keeps_a_reserve(used_mib: int, limit_mib: int, headroom_mib: int) -> None:
    """A twentieth of the container's memory, 64 MiB at most, stays free of handlers."""
    pool = Pool(lambda: (used_mib * MIB, limit_mib * MIB))
    headroom_bytes = pool.headroom_bytes()
    assert headroom_bytes is not None
    assert headroom_bytes // MIB == headroom_mib


def test_memory_is_looked_at_before_it_can_be_full() -> None:
    """The less is left, the sooner; never more often than fifty times a second."""
    assert look_again_s(None) == look_again_s(100 * 1024 * MIB) == 1.0
    assert look_again_s(1024 * MIB) == 0.5
    assert look_again_s(0) == look_again_s(-5) == 0.02
