"""A command line that knows nothing of the machine's own settings."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog

from worker.agent.own_secrets import PR_SET_DUMPABLE
from worker.cli import main
from worker.executor.linux import prctl


class Ran(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty home, and no MILLHAND_* variable but the one that forbids to ask a cloud."""
    for name in os.environ.keys() - {"MILLHAND_CLOUD"}:
        if name.startswith(("MILLHAND_", "XDG_", "STATE_DIRECTORY", "NO_COLOR")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def own_memory() -> Iterator[None]:
    """Open this process again where a command closed it, as it does with the process of an agent."""
    yield
    prctl(PR_SET_DUMPABLE, 1)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Have signals do again what they did: an agent that has ended ignores them.

    Whoever is started by a later test would inherit that, and could not be ended.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """Leave the process's logging as it was: commands set it up on a stderr that ends with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = structlog.get_config()
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.configure(**before)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line in this process; stdout is not a terminal there."""

    def run(*args: str) -> Ran:
        code = int(main.run(list(args)))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
