"""Whoever has no token takes nothing from those who have one."""

from __future__ import annotations

import asyncio

import pytest

from server.store.choice import DatabaseOptions
from server.store.commands import CreateToken
from server.store.postgres import workers
from server.store.queries import JobQuery
from server.tokens import READ, hash_token
from tests.postgres.stores import run_async, servers


def test_guesses_of_tokens_leave_the_queue_to_others(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at once are all looked up, a few at a time; who is let in, or comes first now, is served."""
    monkeypatch.setattr(workers, "MOST_WAITING_EACH", 2)  # for each of two connections

    async def body() -> None:
        async with servers(url, 1, DatabaseOptions(connections=2)) as (one,):
            for name in ("known", "new"):
                await one.store.apply(
                    CreateToken(id=name, org_id=one.org_id, sha256=hash_token(name), scopes=frozenset({READ}))
                )
            assert await one.store.principal(hash_token("known"))
            guesses = [asyncio.create_task(one.store.principal(hash_token(f"{n}"))) for n in range(100)]
            await asyncio.sleep(0)  # all of them ask now
            assert await one.store.jobs(JobQuery(org_id=one.org_id)) == []
            known = await one.store.principal(hash_token("known"))
            new = await one.store.principal(hash_token("new"))
            assert known is not None
            assert new is not None
            assert (known.token_id, new.token_id) == ("known", "new")
            assert await asyncio.gather(*guesses) == [None] * 100

    run_async(body)
