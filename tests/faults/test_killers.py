"""Handlers that kill the minder, the agent, or whatever they can: nothing of theirs outlives it."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.animals import ZOO, read_animal
from tests.faults.cage import reap
from tests.faults.driver import drive, start, works
from tests.faults.processes import Process, adopting_orphans, descendants

GONE_S = 60.0  # a bound, not a measure
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


@pytest.fixture(autouse=True)
def orphans() -> Iterator[None]:
    """Let what escapes be found below this process, and end it."""
    with adopting_orphans():
        yield
        reap()


def living() -> list[Process]:
    """Return what lives below this process, waiting a little for its end."""
    until = time.monotonic() + GONE_S
    while (found := [one for one in descendants() if not one.is_zombie]) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def test_the_minder_killed_by_a_handler_is_replaced(tmp_path: Path) -> None:
    """The run is given back, what it left is found by its mark, and the next run works."""
    killed, after, left = drive(tmp_path, "kills_its_minder", "tame")
    end = read_animal(ZOO / "kills_its_minder.py").end
    assert (killed["error"]["kind"], killed["error"]["retryable"]) == (end.kind, end.retryable)
    assert end.says[0] in killed["error"]["message"]
    assert after["code"] == "Success"
    assert left == {"is_tidy": True, "left": 0, "zombies": 0, "leaked": 0}
    assert living() == []


@pytest.mark.parametrize("animal", ["kills_the_agent", "kills_the_agents_group"])
def test_nothing_outlives_an_agent_killed_by_its_handler(tmp_path: Path, animal: str) -> None:
    """The minder ends every tree: handlers that block signals, and what left the session and its mark."""
    with start(tmp_path, animal) as process:
        process.wait(GONE_S)
    assert process.returncode == -signal.SIGKILL
    assert living() == []


@pytest.mark.skipif(not works(*NAMESPACE), reason="needs the right to make a pid namespace")
def test_an_agent_as_pid_1_outlives_a_handler_that_kills_everything(tmp_path: Path) -> None:
    """As in a container: all but the agent is dead, which gives the run back and goes on."""
    killed, after, left = drive(tmp_path, "kills_everything", "tame", before=NAMESPACE)
    end = read_animal(ZOO / "kills_everything.py").end
    assert (killed["error"]["kind"], killed["error"]["retryable"]) == (end.kind, end.retryable), killed
    assert after["code"] == "Success"
    assert left == {"is_tidy": True, "left": 0, "zombies": 0, "leaked": 0}
