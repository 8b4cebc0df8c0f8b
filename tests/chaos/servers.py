"""The servers that agents are wrecked on: our own, which can be killed, and somebody else's."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Protocol

from tests.acceptance.agents import STOP_S
from tests.chaos.processes import TOKEN, kill_surely
from tests.foreign import foreign_server
from tests.integration.ports import free_port

__all__ = ["LEASE_S", "AnyServer", "Foreign", "Server", "free_port"]

LEASE_S: Final = 3.0
HABITS: Final[tuple[dict[str, Any], ...]] = (  # of a server that keeps run ids unique
    {"duplicate": "409", "put_stopped": "404"},
    {"duplicate": "200", "put_stopped": "409"},
    {"duplicate": "422", "put_stopped": "422"},
    {"duplicate": "500", "put_stopped": "404"},
)


class AnyServer(Protocol):
    """What a world needs of its server."""

    url: str
    port: int

    @property
    def pids(self) -> set[int]:
        """Return the pid of every process that is waited for here."""
        ...

    @property
    def fell(self) -> int | None:
        """Return how it ended by itself; None where it did not."""
        ...

    def start(self) -> None:
        """Start it; `is_up` tells when it answers."""
        ...

    def is_up(self) -> bool:
        """Tell whether it takes connections."""
        ...

    def kill(self) -> bool:
        """Kill it, or one of them; tell whether there was one."""
        ...

    def end(self) -> None:
        """Let nothing of it live, at the end of its world."""
        ...

    def stop(self) -> int:
        """Stop it as a person does; return its exit code."""
        ...


class Server:
    """`millhand serve` on a file, or on another database, always on the same port."""

    def __init__(
        self, folder: Path, port: int, lease_s: float = LEASE_S, *, db: str = "", log: str = "server.log"
    ) -> None:
        """Start with `start`; the log lies in the folder."""
        self._db = db or f"sqlite:///{folder}/jobs.sqlite3"
        self._log = folder / log
        self._lease_s = lease_s
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @property
    def pids(self) -> set[int]:
        """Return the pid of every process that is waited for here."""
        return {self._process.pid} if self._process is not None else set()

    def start(self) -> None:
        """Start it anew; `is_up` tells when it answers."""
        self.kill()
        command = ["serve", "--port", str(self.port), "--db", self._db, "--lease", f"{self._lease_s}s"]
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "worker.cli.main", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**kept, "MILLHAND_SERVER_TOKEN": TOKEN},
                start_new_session=True,
            )
        self._is_killed = False

    @property
    def fell(self) -> int | None:
        """Return how it ended by itself; None where it did not."""
        code = None if self._process is None else self._process.poll()
        return None if self._is_killed else code

    def is_up(self) -> bool:
        """Tell whether it takes connections."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False

    def kill(self) -> bool:
        """Kill it; tell whether there was one."""
        is_done = kill_surely(self._process)
        self._is_killed = self._is_killed or is_done
        return is_done

    def end(self) -> None:
        """Kill it."""
        self.kill()

    def stop(self) -> int:
        """Stop it as a person does; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_S)


class Foreign:
    """A server of the documented API without leases, in a thread of this process: nobody can kill it."""

    def __init__(self, number: int) -> None:
        """Serve; servers differ in how they refuse what they know, by a number."""
        self._open = contextlib.ExitStack()
        served = self._open.enter_context(foreign_server(token=TOKEN, **HABITS[number % len(HABITS)]))
        self.pids = set[int]()
        self.fell = None
        self.url = served.url
        self.port = int(served.url.rpartition(":")[2])

    def start(self) -> None:
        """Do nothing: it serves."""

    def is_up(self) -> bool:
        """Tell that it serves."""
        return True

    def kill(self) -> bool:
        """Nobody can."""
        return False

    def end(self) -> None:
        """End it."""
        self._open.close()

    def stop(self) -> int:
        """End it."""
        self._open.close()
        return 0
