"""The socket of a state directory: where it lies, how it is made, and how it is reached."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import Final

__all__ = ["SOCKET_NAME", "connected", "listening_in", "remove"]

SOCKET_NAME: Final = "control.sock"
ADDRESS_BYTES_MAX: Final = 107  # unix(7): sun_path has 108 with its zero
BACKLOG: Final = 16  # connections that wait to be accepted
MODE: Final = 0o600


def listening_in(folder: Path) -> socket:
    """Return a socket that listens in a state directory, for its owner alone.

    Who calls it holds the lock of the directory: a socket that lies there is of an agent that is gone.

    Raises: OSError where it cannot be made; FileExistsError where something else has its name.
    """
    remove(folder)
    listening = socket(AF_UNIX, SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), MODE)  # before it has a name: it is never open to others
        with address_in(folder) as address:
            listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def remove(folder: Path) -> None:
    """Take the socket out of a state directory.

    Raises: FileExistsError where its name is that of something else, which stays.
    """
    path = folder / SOCKET_NAME
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path} is no socket; remove it")
        path.unlink()


def connected(folder: Path, timeout_s: float) -> socket:
    """Return a connection to the agent of a state directory, whose calls take no longer.

    Raises: OSError: FileNotFoundError where there is no socket, ConnectionRefusedError where nobody
    listens any more, PermissionError where it is somebody else's.
    """
    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        with address_in(folder) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def address_in(folder: Path) -> Iterator[str]:
    """Give the address of the socket; one that is too long is reached from its folder."""
    path = folder.absolute() / SOCKET_NAME
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield str(path)
        return
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET_NAME}"
    finally:
        os.close(handle)
