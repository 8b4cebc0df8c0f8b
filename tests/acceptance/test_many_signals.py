"""An agent that is told to stop again and again, until it is gone."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Final

from server.testing import running_server
from tests.acceptance.agents import start_agent, wait_until_started

LIMIT_S: Final = 60.0  # a bound for a hang, not a measure
PAUSE_S: Final = 0.001


def test_signals_at_any_moment_of_the_end_do_not_change_the_exit_code(tmp_path: Path) -> None:
    """From the line that says that it has started to the last moment of its process: 0."""
    with running_server() as server:
        agent = start_agent(tmp_path / "agent", server.url, server.token, slots=1)
        try:
            wait_until_started(agent, tmp_path / "agent")
            give_up_mono = time.monotonic() + LIMIT_S
            while agent.poll() is None:
                assert time.monotonic() < give_up_mono, "the agent does not end"
                agent.send_signal(signal.SIGTERM)
                time.sleep(PAUSE_S)
        finally:
            agent.kill()
            agent.wait(LIMIT_S)
    assert agent.returncode == 0, (tmp_path / "agent" / "agent.log").read_text()[-2000:]
