"""The place of the page: its port is taken before anything else, and it answers once there is an agent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from socket import AI_PASSIVE, SOCK_STREAM, create_server, getaddrinfo, socket
from typing import Final

from worker.agent.operators.survey import Survey
from worker.config import AgentConfig

__all__ = ["listen_for_operators", "operators_page"]

BACKLOG: Final = 16  # connections that wait to be accepted


def listen_for_operators(config: AgentConfig, stack: AsyncExitStack) -> socket | None:
    """Take the port of the page, and have `stack` close it; None where there is to be no page.

    Raises: ValueError where it cannot be had.
    """
    if not config.http_port:
        return None
    try:
        listening = listening_socket(config.http_host, config.http_port)
    except (OSError, UnicodeError) as exc:
        place = f"{config.http_host} port {config.http_port}"
        hint = "choose another by --http-port (MILLHAND_HTTP_PORT) and --http-host, or port 0 for no page"
        raise ValueError(f"http_port: cannot listen on {place}: {why(exc)}; {hint}") from exc
    return stack.enter_context(listening)


def why(exc: OSError | UnicodeError) -> str:
    """Return the system's word for an error, without what Python adds; a name that is unknown has its own."""
    number = exc.errno if isinstance(exc, OSError) else None
    return os.strerror(number) if number is not None and number > 0 else str(exc)


def listening_socket(host: str, port: int) -> socket:
    """Return a socket that listens; the kernel keeps who connects until somebody accepts."""
    family, _, _, _, address = getaddrinfo(host, port, type=SOCK_STREAM, flags=AI_PASSIVE)[0]
    return create_server((str(address[0]), port), family=family, backlog=BACKLOG)


@asynccontextmanager
async def operators_page(survey: Survey, listening: socket | None) -> AsyncIterator[None]:
    """Have the page answer until the end of the block, where there is to be one."""
    if listening is None:
        yield
        return
    # Loaded only here, since most agents have no page: 50 ms of the start together.
    from worker.agent.operators.metrics import Metrics  # noqa: PLC0415
    from worker.agent.operators.page import serving  # noqa: PLC0415

    async with serving(survey, Metrics(survey).text, listening):
        yield
