"""The socket that the server listens on: its own, or one that a service manager holds for it."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Final

from server.api_server import BACKLOG

__all__ = ["inherited", "is_loopback", "listen", "url_of"]

FIRST_FD: Final = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: the address is in use or not of this machine.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except BaseException:
        opened.close()
        raise
    return opened


def inherited() -> socket.socket | None:
    """Return the socket that a service manager gave this process (sd_listen_fds(3)); None: there is none.

    It stays open while one server ends and the next one starts, and whoever connects meanwhile waits.

    Raises:
        OSError: what was given is no listening socket, or is more than one.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    for name in ("LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if (count := os.environ.pop("LISTEN_FDS", "0")) != "1":
        raise OSError(f"one socket is wanted of the service manager, and it gave {count!r}")
    given = socket.socket(fileno=FIRST_FD)
    given.set_inheritable(False)
    if given.type != socket.SOCK_STREAM or not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise OSError("the socket of the service manager does not listen for connections")
    return given


def url_of(listening: socket.socket, *, has_tls: bool = False) -> str:
    """Return the URL under which a listening socket is reached."""
    if listening.family not in (socket.AF_INET, socket.AF_INET6):
        return f"unix:{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if has_tls else 'http'}://{shown}:{port}"


def is_loopback(listening: socket.socket) -> bool:
    """Tell whether only this machine reaches a socket: 127.0.0.0/8, ::1, or a socket of its file system."""
    if listening.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    address = ipaddress.ip_address(listening.getsockname()[0].partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
