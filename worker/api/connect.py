"""Open the API as the settings say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from worker.api.client import JobsApi, ServerTraits
from worker.api.token import FileToken, FixedToken, TokenSource
from worker.api.transport import build_client
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
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[JobsApi]:
    """Give a client with connections of its own, closed at the end of the block.

    Raises: ValueError naming the setting that cannot be used.
    """
    async with build_client(config, transport) as client:
        yield JobsApi(
            client,
            token_source(config),
            org_id=config.org_id,
            agent=agent,
            as_strings=config.wire == "strings",
            limit_s=config.request_timeout_s,
            traits=traits,
        )
