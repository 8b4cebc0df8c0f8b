"""Server and agent as two child processes: started, ready, stopped in the right order."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.api.errors import ApiError, Unknown
from worker.cli.children import Child
from worker.cli.exits import CliError, ExitCode
from worker.cli.settings import ALL_SETTINGS
from worker.config import ApiConfig

__all__ = ["Layout", "Mill", "check_port", "free_port"]

READY_S: Final = 30.0  # until the server must answer
LOOK_S: Final = 0.05  # between two looks whether it does
GRACE_EXTRA_S: Final = 15.0  # beyond the agent's own drain, for its last reports
SERVER_GRACE_S: Final = 10.0
HOST: Final = "127.0.0.1"

OnLine = Callable[[str, str], None]  # who wrote it, and the line


class Layout(Struct, frozen=True, kw_only=True):
    """Where everything of one server and one agent is."""

    folder: Path
    port: int
    token_file: Path
    store: str  # a folder or URL
    drain_timeout_s: float = 30.0

    @property
    def url(self) -> str:
        """Return where the API answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def api(self) -> ApiConfig:
        """Return how to reach it."""
        return ApiConfig(url=self.url, token_file=self.token_file, request_timeout_s=10.0)

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the children's settings: ours only, nothing of a file or of another API."""
        neutral = {setting.variable: "" for setting in ALL_SETTINGS}
        return {
            **neutral,
            "MILLHAND_CONFIG": os.devnull,
            "MILLHAND_LOG_FORMAT": "text",
            "MILLHAND_API_URL": self.url,
            "MILLHAND_TOKEN_FILE": str(self.token_file),
            "MILLHAND_STATE_DIR": str(self.folder / "agent"),
            "MILLHAND_STORE": self.store,
            "MILLHAND_HIDE": str(self.folder),  # the server's database and token, where landlock is asked for
            "MILLHAND_DRAIN_TIMEOUT": str(self.drain_timeout_s),
            "MILLHAND_SERVER_HOST": HOST,
            "MILLHAND_SERVER_PORT": str(self.port),
            "MILLHAND_SERVER_DB": f"sqlite:///{self.folder / 'server.db'}",
            "MILLHAND_SERVER_TOKEN_FILE": str(self.token_file),
            "MILLHAND_SERVER_FILES": shown_folder(self.store),
            **more,
        }


def shown_folder(store: str) -> str:
    """Return the folder of a store as the server's setting; empty where the store is none."""
    parts = urlsplit(store)
    folder = unquote(parts.path) if parts.scheme == "file" else store
    is_folder = parts.scheme == "file" or "://" not in store
    return folder if is_folder and "," not in folder else ""  # a comma parts folders there


class Mill:
    """A server and an agent. Leaving the block kills what still runs."""

    def __init__(self, layout: Layout, variables: Mapping[str, str], on_line: OnLine) -> None:
        """Start nothing yet; `variables` are further settings of the children."""
        self.layout = layout
        self._variables = layout.variables(variables)
        self._on_line = on_line
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        """Start the server, wait until it answers, then start the agent.

        Raises: CliError where one of them ends, or the server does not answer in time.
        """
        try:
            server = await self._start("server", "serve")
            await self._until_ready(server)
            await self._start("agent", "agent")
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what still runs."""
        await self._close()

    async def first_end(self) -> Child:
        """Wait until one of them ends, and return it."""
        waiting = {asyncio.create_task(child.wait()): child for child in self._children}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return waiting[done.pop()]
        finally:
            for task in waiting:
                task.cancel()

    async def stop(self) -> bool:
        """Let the agent finish and report, then end the server; tell whether both ended well."""
        graces_s = {"agent": self.layout.drain_timeout_s + GRACE_EXTRA_S, "server": SERVER_GRACE_S}
        codes = [await child.stop(graces_s[child.name]) for child in reversed(self._children)]
        return not any(codes)

    def kill(self) -> None:
        """Kill both at once."""
        for child in self._children:
            child.kill()

    def bad_ends(self) -> list[str]:
        """Say of each child that ended badly how it ended."""
        return [child.ended() for child in self._children if child.returncode]

    def tails(self, lines: int) -> list[tuple[str, str]]:
        """Return the last lines of each child's output."""
        return [(child.name, line) for child in self._children for line in list(child.tail)[-lines:]]

    async def _start(self, name: str, command: str) -> Child:
        child = await Child.start(name, [command], self._variables, lambda line: self._on_line(name, line))
        self._children.append(child)
        return child

    async def _until_ready(self, server: Child) -> None:
        """Wait until the server answers an authorised request."""
        try:
            async with asyncio.timeout(READY_S), open_api(self.layout.api) as api:
                while not await is_ready(api):
                    if server.returncode is not None:
                        await server.wait()
                        raise ended_early(server)
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise CliError(
                f"the server does not answer at {self.layout.url} after {READY_S:.0f} s", last_words(server)
            ) from None

    async def _close(self) -> None:
        for child in reversed(self._children):
            await child.aclose()


async def is_ready(api: JobsApi) -> bool:
    """Tell whether the API answers; a refusal is an answer of another server, and an error."""
    try:
        await api.list_jobs(per_page=1)
    except Unknown:
        return False
    except ApiError as exc:
        raise CliError(
            f"something else answers at the server's port: {exc}", code=ExitCode.CONFIGURATION
        ) from exc
    return True


def ended_early(child: Child) -> CliError:
    """Return the error of a child that ended by itself."""
    return CliError(child.ended(), last_words(child))


def last_words(child: Child) -> str:
    """Return the last lines of a child's output, for a message."""
    lines = [line for line in child.tail if line.strip()][-10:]
    return "\n  ".join(["it said:", *lines]) if lines else "it said nothing"


def check_port(port: int) -> None:
    """Raise CliError where the port cannot be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as exc:
            why = (
                "is in use by another program"
                if exc.errno == errno.EADDRINUSE
                else f"cannot be used: {exc.strerror}"
            )
            raise CliError(
                f"port {port} {why}",
                "stop that program (perhaps another `millhand up`), or choose one: millhand up --port 8078",
                code=ExitCode.CONFIGURATION,
            ) from exc


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
