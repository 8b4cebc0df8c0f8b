"""Tell the service manager how this process stands: sd_notify(3), for systemd and what speaks like it.

One datagram a word, to the socket that `NOTIFY_SOCKET` names. Nothing rests on it: a manager that does not
listen is told nothing, and whatever goes wrong is logged once.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from socket import AF_UNIX, SOCK_DGRAM, socket
from typing import Final

import structlog

__all__ = ["ServiceManager"]

SOCKET: Final = "NOTIFY_SOCKET"
WATCHDOG: Final = "WATCHDOG_USEC"
WATCHDOG_PID: Final = "WATCHDOG_PID"
BEATS: Final = 3  # a watchdog's time: one may be late, and one be lost
MAX_STATUS_CHARS: Final = 500
log = structlog.get_logger()


class ServiceManager:
    """Who started this process and watches it; silent where nobody does."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        """`address` is a path, or ``@name`` in the abstract namespace; `watchdog_s` the longest silence."""
        self._address = address
        self._watchdog_s = watchdog_s
        self._status = ""
        self._is_broken = False

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Return the manager that an environment names, and take it out: no child is to speak for us."""
        address = environment.pop(SOCKET, None)
        watchdog = environment.pop(WATCHDOG, "")
        pid = environment.pop(WATCHDOG_PID, "")
        is_ours = watchdog.isdecimal() and int(watchdog) > 0 and pid in ("", str(os.getpid()))
        return cls(address or None, int(watchdog) / 1e6 if is_ours else None)

    @property
    def is_there(self) -> bool:
        """Whether anybody listens."""
        return self._address is not None

    @property
    def beat_s(self) -> float | None:
        """How often the watchdog wants to hear that this process goes on; None: there is none."""
        return None if self._watchdog_s is None or not self.is_there else self._watchdog_s / BEATS

    def ready(self, status: str) -> None:
        """Say that the service has started, and how it stands."""
        self._status = status
        self._send("READY=1", f"STATUS={one_line(status)}")

    def status(self, status: str) -> None:
        """Say how it stands, in words; the same ones are not repeated."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={one_line(status)}")

    def beat(self) -> None:
        """Say that this process goes on."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """Say that it ends now, of itself or as it was told."""
        self._status = status
        self._send("STOPPING=1", f"STATUS={one_line(status)}")

    def extend(self, seconds: float) -> None:
        """Say that the end is `seconds` away at most: the manager waits, if its own limit is shorter."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def _send(self, *words: str) -> None:
        if self._address is None:
            return
        target = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket(AF_UNIX, SOCK_DGRAM) as line:
                line.setblocking(False)
                line.sendto("\n".join(words).encode("utf-8", "replace"), target)
        except OSError as exc:
            if not self._is_broken:
                log.warning("service.untold", socket=self._address, error=exc.strerror or str(exc))
            self._is_broken = True
        else:
            self._is_broken = False


def one_line(text: str) -> str:
    """Return text without line breaks, which would end the field, and bounded."""
    return " ".join(text.split())[:MAX_STATUS_CHARS]
