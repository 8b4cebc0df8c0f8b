"""Agents as processes, as a user starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

STOP_S = 40.0  # longer than the agent's own drain


def start_agent(
    folder: Path, url: str, token: str, *, slots: int, settings: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start an agent; its state and log (`agent.log`) lie in `folder`. The caller ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "TMPDIR": str(folder.parent),
        "MILLHAND_API_URL": url,
        "MILLHAND_TOKEN": token,
        "MILLHAND_STATE_DIR": str(folder / "state"),
        "MILLHAND_CONCURRENCY": str(slots),
        **(settings or {}),
    }
    with (folder / "agent.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.cli.main", "agent"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


@contextmanager
def running_agent(
    folder: Path, url: str, token: str, *, slots: int, settings: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Give an agent that works until the end of the block, and must then drain with exit code 0."""
    agent = start_agent(folder, url, token, slots=slots, settings=settings)
    try:
        yield agent
        if agent.poll() is None:
            agent.send_signal(signal.SIGTERM)
        code = agent.wait(STOP_S)
        assert code == 0, (folder / "agent.log").read_text()[-4000:]
    finally:
        if agent.poll() is None:
            os.killpg(agent.pid, signal.SIGKILL)
            agent.wait(STOP_S)
