"""The agent's clients of its server: connections of their own for each purpose: none starves another."""

from __future__ import annotations

from contextlib import AsyncExitStack

from msgspec import Struct

from worker.api.batches import Batches
from worker.api.client import JobsApi
from worker.api.connect import open_api, open_batches
from worker.api.connection import ServerTraits
from worker.config import AgentConfig

__all__ = ["Clients", "open_clients"]


class Clients(Struct, frozen=True, kw_only=True):
    """What polls, what claims, what reports; and what takes writes of the last two along with each other."""

    poll: JobsApi
    claim: JobsApi
    report: JobsApi
    batches: Batches | None


async def open_clients(stack: AsyncExitStack, config: AgentConfig, pod_id: str) -> Clients:
    """Open them; they are closed with the stack, and share what they learn of the server.

    With one slot writes seldom meet: each would wait a round of the loop for others that do not come.
    """
    traits = ServerTraits()
    batches = None
    if config.batches == "auto" and config.concurrency > 1:
        batches = await stack.enter_async_context(open_batches(config.api, agent=pod_id, traits=traits))

    async def client(batches: Batches | None = None) -> JobsApi:
        opening = open_api(config.api, agent=pod_id, traits=traits, batches=batches, is_brief=True)
        return await stack.enter_async_context(opening)

    return Clients(
        poll=await client(), claim=await client(batches), report=await client(batches), batches=batches
    )
