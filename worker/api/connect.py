"""Open the API as the settings say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.api import wire
from worker.api.batches import Batches
from worker.api.client import JobsApi
from worker.api.connection import Connection, ServerTraits
from worker.api.token import FileToken, FixedToken, TokenSource
from worker.api.transport import Transport, build_transport, headers_of
from worker.config import ApiConfig

__all__ = ["open_api", "open_batches", "token_source"]


def token_source(config: ApiConfig) -> TokenSource:
    """Return where the token comes from; a file wins over a value."""
    return FileToken(config.token_file) if config.token_file else FixedToken(config.token)


@asynccontextmanager
async def open_api(
    config: ApiConfig,
    *,
    agent: str | None = None,
    traits: ServerTraits | None = None,
    batches: Batches | None = None,
    is_brief: bool = False,
) -> AsyncIterator[JobsApi]:
    """Give a client with connections of its own, closed at the end of the block.

    `agent` is the identity that our server wants to see (`Millhand-Agent`); `batches` are what its writes of
    runs may go with; `is_brief` tells that their answers need not show whole runs.
    Raises: ValueError naming the setting that cannot be used.
    """
    async with build_transport(config) as opened:
        yield JobsApi(
            connection_of(config, opened, agent, traits),
            org_id=config.org_id,
            as_strings=config.wire == "strings",
            batches=batches,
            is_brief=is_brief,
        )


@asynccontextmanager
async def open_batches(config: ApiConfig, *, agent: str, traits: ServerTraits) -> AsyncIterator[Batches]:
    """Give what takes writes of several clients along in one request, with connections of its own."""
    async with build_transport(config) as opened:
        batches = Batches(connection_of(config, opened, agent, traits))
        try:
            yield batches
        finally:
            await batches.aclose()


def connection_of(
    config: ApiConfig, transport: Transport, agent: str | None, traits: ServerTraits | None
) -> Connection:
    """Return a connection as the settings say."""
    return Connection(
        transport,
        config.url,
        token_source(config),
        headers=headers_of(config) | ({wire.AGENT_HEADER: agent} if agent else {}),
        limit_s=config.request_timeout_s,
        traits=traits,
    )
