"""The real programs under measurement: one server, one agent, each a process of its own."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.caller import Caller
from tests.bench.stores import Database
from tests.integration.ports import free_port

__all__ = [
    "TOKEN",
    "Agent",
    "BenchError",
    "Meter",
    "Server",
    "environment",
    "running_agent",
    "running_server",
]

TOKEN: Final = "bench-token-of-no-worth"
HANDLERS: Final = Path(__file__).with_name("handlers_bench.py")
READY_S: Final = 30.0
STOP_S: Final = 20.0


class BenchError(Exception):
    """Something did not go as the measurement needs; no number can be told."""


def environment() -> dict[str, str]:
    """Return what programs under measurement inherit: nothing that is meant for another millhand.

    They may keep what they compile, as those that are installed have it: else each start would compile all.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MILLHAND_") and name != "PYTHONDONTWRITEBYTECODE"
    }


class Meter:
    """What a program is started with to have its calls counted (`tests.bench.called`), and asks it."""

    def __init__(self) -> None:
        """Make two pipes."""
        (self._far_ask, self._ask), (self._answer, self._far_answer) = os.pipe(), os.pipe()
        self.given = (
            ["tests.bench.called", str(self._far_ask), str(self._far_answer)],
            (self._far_ask, self._far_answer),
        )

    def read(self) -> int:
        """Return how many there were."""
        os.write(self._ask, b"?")
        answer = b""
        while not answer.endswith(b"\n"):
            if not select.select([self._answer], [], [], READY_S)[0]:
                raise BenchError(f"a program did not tell within {READY_S:.0f} s how many calls there were")
            answer += os.read(self._answer, 64)
        return int(answer)

    def close(self) -> None:
        """Close the pipes; the program goes on."""
        for descriptor in (self._far_ask, self._ask, self._answer, self._far_answer):
            os.close(descriptor)


class Program:
    """One `millhand` command as a process; its output goes to a file that is shown when it fails."""

    def __init__(
        self, arguments: list[str], variables: Mapping[str, str], log: Path, meter: Meter | None = None
    ) -> None:
        """Start it now."""
        self._name = arguments[0]
        self._log = log
        self._meter = meter
        given, descriptors = meter.given if meter else (["worker.cli.main"], ())
        self.started_ns = time.time_ns()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", *given, *arguments],
                env=environment() | {"MILLHAND_CLOUD": "none"} | dict(variables),
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid

    def calls(self) -> int:
        """Return how often a Python function was entered so far; only where a meter was given."""
        assert self._meter is not None
        return self._meter.read()

    def said(self, text: str) -> int:
        """Return how often its output has a text so far."""
        return self._log.read_bytes().count(text.encode())

    def check(self) -> None:
        """Raise if it has ended."""
        if (code := self.process.poll()) is not None:
            raise self.error(f"millhand {self._name} ended with {code}")

    def error(self, message: str) -> BenchError:
        """Return an error with the end of the program's output, whose file will be gone."""
        return BenchError(
            f"{message}; the end of its output:\n{self._log.read_text(errors='replace')[-2000:]}"
        )

    def stop(self) -> None:
        """Ask it to end; kill it when the time is over."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_S)
        if self._meter is not None:
            self._meter.close()


class Server(Program):
    """`millhand serve` on a free port, on SQLite in a folder unless a database is given."""

    def __init__(
        self,
        folder: Path,
        database: Database | None = None,
        variables: Mapping[str, str] | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Start it; `wait_ready` tells when it answers."""
        self.database_pid = database.pid if database else None
        self.url = f"http://127.0.0.1:{free_port()}"
        self.page = f"http://127.0.0.1:{free_port()}"  # of metrics
        usual = {
            "MILLHAND_SERVER_TOKEN": TOKEN,
            "MILLHAND_SERVER_HOST": "127.0.0.1",
            "MILLHAND_SERVER_PORT": self.url.rpartition(":")[2],
            "MILLHAND_SERVER_METRICS_PORT": self.page.rpartition(":")[2],
            "MILLHAND_SERVER_DB": database.url if database else f"sqlite:///{folder / 'bench.db'}",
            "MILLHAND_SERVER_MAX_CONNECTIONS": "12000",  # beside those that wait, who measures has some
            "MILLHAND_LOG_LEVEL": "warning",
        }
        super().__init__(["serve"], usual | dict(variables or {}), folder / "server.log", meter)

    def wait_ready(self, caller: Caller) -> None:
        """Wait until it answers a request that needs the database and the token."""
        end = time.monotonic() + READY_S
        while not caller.is_answered():
            self.check()
            if time.monotonic() > end:
                raise BenchError(f"the server did not answer at {self.url} within {READY_S:.0f} s")
            time.sleep(0.02)


class Agent(Program):
    """`millhand agent` with a state folder of its own, at its default log level."""

    def __init__(
        self,
        url: str,
        folder: Path,
        slots: int,
        variables: Mapping[str, str] | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Start it; it works as soon as it can."""
        folder.mkdir()
        usual = {
            "MILLHAND_API_URL": url,
            "MILLHAND_TOKEN": TOKEN,
            "MILLHAND_STATE_DIR": str(folder),
            "MILLHAND_CONCURRENCY": str(slots),
            "MILLHAND_HANDLERS": str(HANDLERS),
        }
        super().__init__(["agent"], usual | dict(variables or {}), folder / "agent.log", meter)


@contextmanager
def running_server(
    folder: Path,
    database: Database | None = None,
    variables: Mapping[str, str] | None = None,
    meter: Meter | None = None,
) -> Iterator[tuple[Server, Caller]]:
    """Serve while the block runs, and give a caller that is let in."""
    server = Server(folder, database, variables, meter)
    try:
        with Caller(server.url, TOKEN) as caller:
            server.wait_ready(caller)
            yield server, caller
    finally:
        server.stop()


@contextmanager
def running_agent(
    url: str,
    folder: Path,
    slots: int,
    variables: Mapping[str, str] | None = None,
    meter: Meter | None = None,
) -> Iterator[Agent]:
    """Work while the block runs."""
    agent = Agent(url, folder, slots, variables, meter)
    try:
        yield agent
    finally:
        agent.stop()
