"""What an agent in virtual time tells the service manager that started it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket

import pytest

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World
from worker.agent.assemble import Agent
from worker.agent.operators.service import status_text, told_to_the_manager
from worker.agent.operators.survey import Survey
from worker.api.wire import ErrorKind
from worker.service_manager import ServiceManager

WATCHDOG_S = 30.0


def said(folder: Path, look: Callable[[Agent], None], seconds: float) -> list[str]:
    """Return what is said of an agent that does nothing yet, for some seconds after `look`."""
    words: list[str] = []

    async def main() -> None:
        agent = await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()
        with socket(AF_UNIX, SOCK_DGRAM) as line:
            line.settimeout(0)
            line.bind(str(folder / "notify"))
            async with told_to_the_manager(ServiceManager(str(folder / "notify"), WATCHDOG_S), agent.survey):
                look(agent)
                left = seconds
                while left > 0:  # more of them than the socket holds
                    await asyncio.sleep(0.5)
                    left -= 0.5
                    words.extend(taken(line))

    run_virtual(main())
    return words


def taken(line: socket) -> list[str]:
    """Return what waits."""
    words = []
    while True:
        try:
            words.append(line.recv(4096).decode())
        except BlockingIOError:
            return words


def test_it_is_ready_whether_the_server_answers_or_not(tmp_path: Path) -> None:
    """The first word; a start must not fail for a server that is away."""
    first = said(tmp_path, lambda _: None, 0.5)[0]
    assert first.startswith("READY=1\nSTATUS=claims nothing: recovery")


def test_the_watchdog_hears_it_three_times_in_its_time(tmp_path: Path) -> None:
    """And goes on to, while everything else stays as it is: that is said once."""
    words = said(tmp_path, lambda _: None, 10 * WATCHDOG_S)
    assert 29 <= words.count("WATCHDOG=1") <= 31
    assert len([word for word in words if "STATUS=" in word]) == 1


def test_a_status_that_cannot_be_had_does_not_silence_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the watchdog would end every run for a fault in a sentence."""

    def look(agent: Agent) -> None:
        def fail(_: Survey) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(Survey, "status", fail)

    assert said(tmp_path, look, 2 * WATCHDOG_S).count("WATCHDOG=1") >= 5


def test_a_drain_is_said_at_once_with_its_end(tmp_path: Path) -> None:
    """The manager waits for it, though its own limit be shorter; the status counts down."""

    def look(agent: Agent) -> None:
        agent.drain.request(ErrorKind.DRAINED, "SIGTERM")

    words = said(tmp_path, look, 4.0)
    stopping = [word for word in words if word.startswith("STOPPING=1\nSTATUS=draining (SIGTERM)")]
    assert len(stopping) >= 3
    assert words.index(stopping[0]) <= 3
    extended = [
        int(word.partition("=")[2]) / 1e6 for word in words if word.startswith("EXTEND_TIMEOUT_USEC=")
    ]
    assert extended[0] > extended[-1] > 0


def test_the_status_says_why_nothing_is_claimed() -> None:
    """A person reads it in `systemctl status`."""

    async def main() -> list[str]:
        survey = (await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()).survey
        survey.supervisor.is_recovering = False
        idle = status_text(survey.status())
        survey.activity.polled(is_answered=False)
        away = status_text(survey.status())
        survey.activity.polled(is_answered=True)
        survey.holds.hold("memory", "only 1 GiB is left", "wait")
        return [idle, away, status_text(survey.status())]

    idle, away, held = run_virtual(main())
    assert idle.startswith("waiting for tasks; 0 of ")
    assert away.startswith("the server does not answer (1 polls failed); ")
    assert held.startswith("claims nothing: memory (only 1 GiB is left); ")
