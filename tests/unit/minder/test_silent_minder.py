"""A minder that stands still, or is only slow: real ones, looked at by a clock of the test."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from structlog.testing import capture_logs

from tests.unit.minder.cradle import MARK, Cradle, is_alive, until, within_limit
from worker.executor.minder_process import Minder
from worker.executor.pulse import SILENT_S, STEP_S, Pulse
from worker.minder.trees import read_stat

WAIT = "told('on')\nwhile True: time.sleep(1)\n"
LOOKS = int(SILENT_S / STEP_S) + 1  # after which a minder that owes an answer counts as silent


class Looks:
    """A minder, and a clock that goes on with each look."""

    def __init__(self, folder: Path) -> None:
        """Start nothing yet."""
        self.now_s = 0.0
        self.pulse = Pulse(lambda: self.now_s)
        self.minder = Minder(mark=MARK, pulse=self.pulse)
        self.cradle = Cradle(self.minder, folder)

    async def __aenter__(self) -> Looks:
        """Begin."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave nothing behind, whatever failed: who is stopped stays for ever."""
        if self.minder.pid and is_alive(self.minder.pid):
            os.kill(self.minder.pid, signal.SIGCONT)
        await self.minder.aclose()

    def look(self) -> bool:
        """Look once, as long after the last look as counts."""
        self.now_s += STEP_S
        return self.minder.is_silent()


def test_a_stopped_minder_is_told_killed_and_replaced(tmp_path: Path) -> None:
    """Its child ends with it, though no order reaches it; the next one is minded again."""

    async def scenario() -> None:
        async with Looks(tmp_path) as it:
            assert not it.look()  # there is none yet
            life = await it.cradle.start(WAIT)
            await it.cradle.told("on")
            first = it.minder.pid
            os.kill(first, signal.SIGSTOP)
            await until(lambda: (stat := read_stat(first)) is not None and stat.state == "T")
            life.guard(None, 1)
            with capture_logs() as logs:
                assert [it.look() for _ in range(LOOKS + 1)] == [False] * LOOKS + [True]
                ended = await life.end()
            assert ended.is_minder_lost
            assert not is_alive(first)
            assert not is_alive(life.pid)
            [line] = [one for one in logs if one["event"] == "minder.silent"]
            assert (line["pid"], line["state"], line["children"]) == (first, "T", 1)
            assert not it.look()
            (tmp_path / "on").unlink()
            await it.cradle.start(WAIT)
            await it.cradle.told("on")
            assert it.minder.pid != first

    within_limit(scenario())


def test_an_agent_that_ends_waits_for_no_stopped_minder(tmp_path: Path) -> None:
    """It goes on to hear that nobody is there any more, and ends what it minds."""

    async def scenario() -> None:
        async with Looks(tmp_path) as it:
            life = await it.cradle.start(WAIT)
            first = it.minder.pid
            os.kill(first, signal.SIGSTOP)
            await until(lambda: (stat := read_stat(first)) is not None and stat.state == "T")
            await it.minder.aclose()
            assert not is_alive(first)
            assert not is_alive(life.pid)

    within_limit(scenario())


def test_a_minder_that_answers_lives_on_however_long_it_is_looked_at(tmp_path: Path) -> None:
    """The answer is there before the next look, as in an agent's life."""

    async def scenario() -> None:
        async with Looks(tmp_path) as it:
            await it.cradle.start(WAIT)
            first = it.minder.pid
            for _ in range(3 * LOOKS):
                assert not it.look()
                await asyncio.wait_for(answered(it), 30.0)
            assert it.minder.pid == first

    within_limit(scenario())


def test_a_minder_that_goes_on_in_time_is_left_alone(tmp_path: Path) -> None:
    """It answers late, and what was ordered meanwhile is done."""

    async def scenario() -> None:
        async with Looks(tmp_path) as it:
            life = await it.cradle.start(WAIT)
            first = it.minder.pid
            os.kill(first, signal.SIGSTOP)
            assert not any(it.look() for _ in range(LOOKS))
            os.kill(first, signal.SIGCONT)
            await asyncio.wait_for(answered(it), 30.0)
            assert not any(it.look() for _ in range(LOOKS))
            await until(lambda: is_alive(life.pid))
            assert (await life.end()).signal_name == "SIGKILL"
            assert it.minder.pid == first

    within_limit(scenario())


async def answered(it: Looks) -> None:
    """Wait until the minder owes no answer."""
    await until(lambda: not it.pulse.is_owed)
