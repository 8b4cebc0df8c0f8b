"""Open the API as the settings say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.api import wire
from worker.api.client import JobsApi
from worker.api.connection import Connection, ServerTraits
from worker.api.token import FileToken, FixedToken, TokenSource
from worker.api.transport import build_transport, headers_of
from worker.config import ApiConfig

__all__ = ["open_api", "token_source"]


def token_source(config: ApiConfig) -> TokenSource:
    """Return where the token comes from; a file wins over a value."""
    return FileToken(config.token_file) if config.token_file else FixedToken(config.token)


@asynccontextmanager
async def open_api(
    config: ApiConfig,
    *,
    agent: str | None = None,
    traits: ServerTraits | None = None,
) -> AsyncIterator[JobsApi]:
    """Give a client with connections of its own, closed at the end of the block.

    `agent` is the identity that our server wants to see (`Millhand-Agent`).
    Raises: ValueError naming the setting that cannot be used.
    """
    headers = headers_of(config) | ({wire.AGENT_HEADER: agent} if agent else {})
    async with build_transport(config) as opened:
        connection = Connection(
            opened,
            config.url,
            token_source(config),
            headers=headers,
            limit_s=config.request_timeout_s,
            traits=traits,
        )
        yield JobsApi(connection, org_id=config.org_id, as_strings=config.wire == "strings")
