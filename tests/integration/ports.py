"""Ports for servers of tests."""

from __future__ import annotations

from random import SystemRandom
from socket import create_server
from typing import Final

__all__ = ["free_port"]

PORTS: Final = (20_000, 32_000)  # below those that the kernel gives to whoever connects


def free_port() -> int:
    """Return a port that nothing listens on, and that no connection of others takes meanwhile."""
    while True:
        port = SystemRandom().randint(*PORTS)
        try:
            with create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
