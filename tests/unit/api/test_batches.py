"""Writes of one moment in one request: what goes together, and what goes alone."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.unit.api.batching import CLAIM, END_A, END_B, Server, gathered, virtually
from worker.api.batches import ALONE_BYTES, MOST_BYTES
from worker.api.errors import TransportError
from worker.api.models import Run


def test_what_is_due_at_one_moment_goes_in_one_request() -> None:
    """A claim and two outcomes, from two clients; each has its own answer, with its own headers."""

    async def main() -> None:
        server = Server()
        runs = await gathered(server.claim("c"), server.end("a"), server.end("b"))
        assert server.requests == [[CLAIM, END_A, END_B]]
        assert [run.id for run in runs if isinstance(run, Run)] == ["c", "a", "b"]
        assert {run.lease_s for run in runs if isinstance(run, Run)} == {90.0}

    virtually(main)


def test_what_is_alone_goes_as_it_always_did() -> None:
    """No batch of one."""

    async def main() -> None:
        server = Server()
        await server.claim("c")
        await server.end("a")
        assert server.requests == [[CLAIM], [END_A]]

    virtually(main)


@pytest.mark.parametrize("most", [0, 1])
def test_a_server_that_does_not_say_so_gets_no_batch(most: int) -> None:
    """Nothing is tried out."""

    async def main() -> None:
        server = Server(most)
        await gathered(server.claim("c"), server.end("a"))
        assert server.requests == [[CLAIM], [END_A]]

    virtually(main)


def test_an_answer_tells_that_batches_are_taken() -> None:
    """From the first one on; whatever it says, no more than we know to be sane."""

    async def main() -> None:
        server = Server(most=1000)
        server.traits.batch_most = 0
        await server.end("a")
        assert server.traits.batch_most == 32
        await gathered(server.end("a"), server.end("b"))
        assert server.requests == [[END_A], [END_A, END_B]]

    virtually(main)


def test_more_than_go_together_go_in_several() -> None:
    """As many as the server takes, and the last one alone."""

    async def main() -> None:
        server = Server(most=2)
        await gathered(*(server.end(id_) for id_ in "aabba"))
        assert sorted(server.requests) == [[END_A], [END_A, END_A], [END_B, END_B]]

    virtually(main)


def test_a_server_that_says_so_no_more_gets_none() -> None:
    """It was rolled back, or another replica answers: from its first answer on."""

    async def main() -> None:
        server = Server()
        await gathered(server.end("a"), server.end("b"))
        server.most = 0
        await server.end("a")
        await gathered(server.end("a"), server.end("b"))
        assert server.requests == [[END_A, END_B], [END_A], [END_A], [END_B]]

    virtually(main)


def test_all_in_a_request_have_a_bound_in_bytes() -> None:
    """What would be beyond it goes in the next one."""

    async def main() -> None:
        server = Server()
        half = "x" * (MOST_BYTES // 5)
        await gathered(*(server.end(id_, error=half) for id_ in "abaab"))
        assert sorted(map(len, server.requests)) == [1, 4]

    virtually(main)


def test_who_gives_up_first_takes_no_other_along() -> None:
    """What sends for all others may be the one that is given up."""

    async def main() -> None:
        server = Server()
        given_up = asyncio.ensure_future(server.claim("c"))
        others = [asyncio.ensure_future(server.end(id_)) for id_ in "ab"]
        await asyncio.sleep(0)
        given_up.cancel()
        assert [run.id for run in await asyncio.gather(*others)] == ["a", "b"]
        assert given_up.cancelled()
        assert server.requests == [[END_A, END_B]]

    virtually(main)


def test_a_large_write_goes_alone() -> None:
    """It holds up no other; at the bound it goes along."""

    async def main() -> None:
        server = Server()
        rest = len(json.dumps({"stoppedAt": "2026-01-01T00:00:01Z", "error": ""}, separators=(",", ":")))
        await gathered(server.end("a", error="x" * (ALONE_BYTES - rest + 1)), server.claim("c"))
        assert sorted(server.requests) == [[CLAIM], [END_A]]
        server.requests.clear()
        await gathered(server.end("a", error="x" * (ALONE_BYTES - rest)), server.claim("c"))
        assert server.requests == [[END_A, CLAIM]]

    virtually(main)


def test_who_gives_up_before_it_is_sent_sends_nothing() -> None:
    """And the other goes alone."""

    async def main() -> None:
        server = Server()
        given_up = asyncio.ensure_future(server.claim("c"))
        other = asyncio.ensure_future(server.end("a"))
        await asyncio.sleep(0)
        given_up.cancel()
        await other
        assert server.requests == [[END_A]]
        assert given_up.cancelled() or await gathered(given_up)

    virtually(main)


def test_who_gives_up_later_does_not_disturb_the_others() -> None:
    """What is under way goes on."""

    async def main() -> None:
        server = Server()
        server.delay_s = 1.0
        given_up = asyncio.ensure_future(server.claim("c"))
        other = asyncio.ensure_future(server.end("a"))
        await asyncio.sleep(0.5)
        given_up.cancel()
        assert (await other).id == "a"
        assert server.requests == [[CLAIM, END_A]]

    virtually(main)


def test_a_write_that_was_about_to_go_when_all_ends_is_told_so() -> None:
    """Its request was given up before it had begun; whoever waits for it would wait for ever."""

    async def main() -> None:
        server = Server()
        waiting = [asyncio.ensure_future(server.claim("c")), asyncio.ensure_future(server.end("a"))]
        while not server.batches._sending:  # noqa: ASYNC110 - a step of the loop
            await asyncio.sleep(0)
        await server.batches.aclose()
        assert server.requests == []
        async with asyncio.timeout(60.0):
            answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(answer) for answer in answers] == [TransportError, TransportError]

    virtually(main)
