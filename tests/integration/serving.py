"""A `millhand serve` in a process of its own, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

__all__ = ["LIMIT_S", "MILLHAND", "TOKEN", "Serving", "millhand", "serving", "wait_for"]

LIMIT_S: Final = 60.0  # a bound for a hang, not a measure
MILLHAND: Final = [sys.executable, "-P", "-m", "worker.cli.main"]
TOKEN: Final = "the-token-of-the-settings"
LISTENING: Final = re.compile(r"listening on (https?://[^\s\"]+)")


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return what the condition gives once it gives something."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"after {LIMIT_S} s still not: {what}")


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of somebody who has never used it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MILLHAND_", "XDG_"))}
    return {**kept, "HOME": str(folder), "MILLHAND_SERVER_DB": f"sqlite:///{folder / 'jobs.db'}"}


def millhand(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the server of the same folder."""
    return subprocess.run(
        [*MILLHAND, *args],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


class Serving:
    """A server that was started; its log is JSON lines."""

    def __init__(
        self, folder: Path, args: Sequence[str], variables: Mapping[str, str], **options: Any
    ) -> None:
        """Start it; `url` is known once it listens."""
        self.folder = folder
        self.log = folder / "serve.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*MILLHAND, "serve", "--port", "0", *args],
                env={**environment(folder), **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                **options,
            )

    @property
    def url(self) -> str:
        """Return where it listens, once it does."""

        def found() -> re.Match[str] | None:
            assert self.process.poll() is None, self.log.read_text()
            return LISTENING.search(self.log.read_text())

        return str(wait_for(found, "listening")[1])

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Return the lines of the log, or those of an event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if not event or line.get("event") == event]

    def client(self, token: str | None = TOKEN, **options: Any) -> httpx.Client:
        """Return a client with a token."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=LIMIT_S, trust_env=False, **options)

    def end(self) -> int:
        """Stop it as a service manager does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT_S)


@contextlib.contextmanager
def serving(
    folder: Path, *args: str, token: str | None = TOKEN, variables: Mapping[str, str] | None = None
) -> Iterator[Serving]:
    """Serve until the block ends; nothing of it is left then."""
    given = {} if token is None else {"MILLHAND_SERVER_TOKEN": token}
    server = Serving(folder, args, {**given, **(variables or {})})
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            try:
                server.process.wait(LIMIT_S)
            finally:
                server.process.kill()
        server.process.wait(LIMIT_S)
