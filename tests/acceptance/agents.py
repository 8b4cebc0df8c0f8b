"""Agents as processes, as a user starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_S = 60.0  # a bound for a hang, not a measure
STOP_S = 40.0  # longer than the agent's own drain


def start_agent(
    folder: Path,
    url: str,
    token: str,
    *,
    slots: int,
    settings: Mapping[str, str] | None = None,
    python: str = sys.executable,
    uid: int | None = None,
    program: Sequence[str] = ("-m", "worker.cli.main"),
) -> subprocess.Popen[bytes]:
    """Start an agent; its state and log (`agent.log`) lie in `folder`. The caller ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "TMPDIR": str(folder.parent),
        "MILLHAND_CLOUD": "none",
        "MILLHAND_API_URL": url,
        "MILLHAND_TOKEN": token,
        "MILLHAND_STATE_DIR": str(folder / "state"),
        "MILLHAND_CONCURRENCY": str(slots),
        **(settings or {}),
    }
    with (folder / "agent.log").open("ab") as log:
        return subprocess.Popen(
            [python, "-P", *program, "agent"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
        )


@contextmanager
def running_agent(
    folder: Path,
    url: str,
    token: str,
    *,
    slots: int,
    settings: Mapping[str, str] | None = None,
    python: str = sys.executable,
    uid: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Give an agent that works until the end of the block, and must then drain with exit code 0."""
    agent = start_agent(folder, url, token, slots=slots, settings=settings, python=python, uid=uid)
    try:
        yield agent
        wait_until_started(agent, folder)
        if agent.poll() is None:
            agent.send_signal(signal.SIGTERM)
        code = agent.wait(STOP_S)
        assert code == 0, (folder / "agent.log").read_text()[-4000:]
    finally:
        if agent.poll() is None:
            os.killpg(agent.pid, signal.SIGKILL)
            agent.wait(STOP_S)


def wait_until_started(agent: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until an agent listens for signals: the other one may have done all the work meanwhile."""
    until_mono = time.monotonic() + START_S
    while agent.poll() is None and b"agent.started" not in (folder / "agent.log").read_bytes():
        assert time.monotonic() < until_mono, "the agent does not start"
        time.sleep(0.05)
