"""A wire to PostgreSQL that can be cut where it hurts: after a commit, before its answer comes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Wire", "wire"]

COMMITTED = b"COMMIT\0"  # the tag of a command that is complete


class Wire:
    """Passes bytes on between clients and the server's socket; `lose_answers` cuts at each commit."""

    def __init__(self, folder: Path, server_folder: Path) -> None:
        """Listen on a socket of PostgreSQL's name."""
        self.folder = folder
        self.lose_answers = False
        self.cuts = 0
        self._server = str(server_folder / ".s.PGSQL.5432")
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / ".s.PGSQL.5432"))
        self._listening.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take nobody any more."""
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()
            with contextlib.suppress(OSError):
                while data := client.recv(1 << 16):
                    server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if self.lose_answers and COMMITTED in data:
                    self.cuts += 1
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def wire(folder: Path, server_folder: Path) -> Iterator[Wire]:
    """Lead connections over a wire as long as the block runs."""
    made = Wire(folder, server_folder)
    try:
        yield made
    finally:
        made.close()
