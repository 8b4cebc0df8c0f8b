"""Two servers on one PostgreSQL, behind a balancer: one of them is killed, and the other one goes on."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from pathlib import Path
from typing import Final

from tests.chaos.servers import LEASE_S, Server
from tests.faults.processes import descendants
from tests.integration.ports import free_port
from tests.postgres.databases import cluster, database

__all__ = ["Balancer", "Replicas"]

HOW_MANY: Final = 2
PART: Final = 1 << 16


class Replicas:
    """What agents see as one server."""

    def __init__(self, folder: Path) -> None:
        """Make the database; the servers start with `start`."""
        self._open = contextlib.ExitStack()
        url = self._open.enter_context(database())
        self._servers = [
            Server(folder, free_port(), LEASE_S, db=url, log=f"server.log-{number}")
            for number in range(HOW_MANY)
        ]
        self._turns = itertools.cycle(self._servers)
        self._balancer = self._open.enter_context(Balancer([one.port for one in self._servers]))
        self.port = self._balancer.port
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def pids(self) -> set[int]:
        """Return the pid of every process that is waited for here, and those of the database."""
        backends = {one.pid for one in descendants(cluster().pid)}
        return backends.union({cluster().pid}, *(one.pids for one in self._servers))

    @property
    def fell(self) -> int | None:
        """Return how one of them ended by itself; None where none did."""
        return next((one.fell for one in self._servers if one.fell is not None), None)

    def start(self) -> None:
        """Start those that are dead."""
        for one in self._servers:
            if not one.is_up():
                one.start()

    def is_up(self) -> bool:
        """Tell whether all of them take connections."""
        return all(one.is_up() for one in self._servers)

    def kill(self) -> bool:
        """Kill one of them, in turn; tell whether it lived."""
        return next(self._turns).kill()

    def end(self) -> None:
        """Kill all of them, at the end of their world."""
        for one in self._servers:
            one.kill()
        self._open.close()

    def stop(self) -> int:
        """Stop them as a person does; return the worst exit code."""
        codes = [one.stop() for one in self._servers]
        self._open.close()
        return max(codes, key=abs)


class Balancer:
    """Leads each connection to the next server that takes it."""

    def __init__(self, ports: list[int]) -> None:
        """Listen; connections are taken once it is entered."""
        self._ports = itertools.cycle(ports)
        self._count = len(ports)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self._listening.getsockname()[1])

    def __enter__(self) -> Balancer:
        """Begin."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take no more; a listening socket that is closed alone would not wake who accepts."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._lead, args=(client,), daemon=True).start()

    def _lead(self, client: socket.socket) -> None:
        with client:
            for _ in range(self._count):
                with contextlib.suppress(OSError):
                    server = socket.create_connection(("127.0.0.1", next(self._ports)))
                    break
            else:
                return
            with server:
                back = threading.Thread(target=pass_on, args=(server, client), daemon=True)
                back.start()
                pass_on(client, server)
                back.join()


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until either side ends, then end both: who waits for an answer sees that none comes."""
    with contextlib.suppress(OSError):
        while part := source.recv(PART):
            sink.sendall(part)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
