"""Writes that went in one request which failed, or of which one did: what comes of each."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.unit.api.batching import CLAIM, END_A, END_B, Answer, Server, gathered, virtually
from worker.api.batches import REST_MOST_S, REST_S
from worker.api.errors import ApiError, Conflict, NotFound, RateLimited, ServerError, TransportError, Unknown
from worker.api.models import Run


def test_each_is_refused_or_failed_by_itself() -> None:
    """One that is refused, one that failed, one that nobody can read: the others have their answers."""

    async def main() -> None:
        server = Server()
        server.of_paths = {
            "/api/jobs/runs": (409, {"error": {"code": "task_not_pending", "message": "no"}}),
            "/api/jobs/runs/b": (503, "<html>"),
            "/api/jobs/runs/x": (200, []),
        }
        claim, fine, failed, unread = await gathered(
            server.claim("c"), server.end("a"), server.end("b"), server.end("x")
        )
        assert isinstance(claim, Conflict)
        assert (claim.code, claim.status) == ("task_not_pending", 409)
        assert isinstance(fine, Run)
        assert isinstance(failed, ServerError)
        assert not failed.is_documented
        assert isinstance(unread, TransportError)

    virtually(main)


@pytest.mark.parametrize(
    "said",
    [
        httpx.ReadTimeout("lost"),
        (502, "<html>"),
        (200, {"answers": []}),
        (200, {"answers": "none"}),
        (200, {"answers": [1, 2]}),
        (200, [1, 2]),
        (200, {}),
    ],
)
def test_without_an_answer_nobody_knows_of_any(said: Answer) -> None:
    """Each is unknown, as a request of its own without an answer: who made it asks or repeats."""

    async def main() -> None:
        server = Server()
        server.of_batches = said
        found = await gathered(server.claim("c"), server.end("a"))
        assert [type(one) for one in found if isinstance(one, Unknown)] == [type(found[0])] * 2
        assert found[0] is not found[1]

    virtually(main)


def test_after_one_without_an_answer_each_goes_alone_for_a_while() -> None:
    """So one that makes the server hang holds up the others once."""

    async def main() -> None:
        server, loop = Server(), asyncio.get_running_loop()
        server.of_batches = httpx.ReadTimeout("lost")
        await gathered(server.claim("c"), server.end("a"))
        server.requests.clear()
        server.of_batches = None
        await gathered(server.end("a"), server.end("b"))
        assert server.requests == [[END_A], [END_B]]
        await asyncio.sleep(REST_S)
        await gathered(server.end("a"), server.end("b"))
        assert server.requests[2:] == [[END_A, END_B]]
        assert loop.time() < REST_S + 1.0

    virtually(main)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422])
def test_a_batch_that_is_refused_whole_says_nothing_of_its_writes(status: int) -> None:
    """A replica that knows none, a proxy that lets none pass: each is made by itself, at once."""

    async def main() -> None:
        server = Server()
        server.of_batches = (status, {"error": {"code": "not_found", "message": "no"}})
        runs = await gathered(server.claim("c"), server.end("a"))
        assert [run.id for run in runs if isinstance(run, Run)] == ["c", "a"]
        assert server.requests == [[CLAIM, END_A], [CLAIM], [END_A]]

    virtually(main)


def test_a_server_that_is_asked_too_much_is_left_alone() -> None:
    """429 of the whole is 429 of each, with the wait; no further requests in its place."""

    async def main() -> None:
        server = Server()
        server.of_batches = (429, {"error": {"code": "rate_limited", "message": "no"}})
        found = await gathered(server.claim("c"), server.end("a"))
        assert [type(one) for one in found] == [RateLimited, RateLimited]
        assert len(server.requests) == 1

    virtually(main)


def test_a_server_that_is_busy_is_not_asked_one_by_one() -> None:
    """Its own 503 is of each, with the wait, and says nothing of batches: the next ones go together again."""

    async def main() -> None:
        server = Server()
        server.of_batches = (503, {"error": {"code": "overloaded", "message": "no"}})
        found = await gathered(server.claim("c"), server.end("a"))
        assert [(type(one), one.code) for one in found if isinstance(one, ApiError)] == [
            (ServerError, "overloaded")
        ] * 2
        server.of_batches = None
        await gathered(server.claim("c"), server.end("a"))
        assert server.requests == [[CLAIM, END_A]] * 2

    virtually(main)


def test_where_none_is_ever_answered_they_are_tried_ever_less_often() -> None:
    """A proxy that lets none pass costs a request in a quarter of an hour; an answered one counts anew."""

    async def main() -> None:
        server, loop = Server(), asyncio.get_running_loop()

        async def tried() -> float:
            """Return how long writes go alone after one more try."""
            server.requests.clear()
            begun = loop.time()
            while [END_A, END_B] not in server.requests:
                await asyncio.sleep(1.0)
                await gathered(server.end("a"), server.end("b"))
            return loop.time() - begun

        server.of_batches = (405, "<html>")
        assert await tried() < 3.0
        rests = [await tried() for _ in range(6)]
        assert rests == pytest.approx([60.0, 120.0, 240.0, 480.0, 900.0, 900.0], abs=2.0)
        server.of_batches = None
        assert await tried() == pytest.approx(REST_MOST_S, abs=2.0)
        server.of_batches = (405, "<html>")
        assert await tried() < 3.0
        assert await tried() == pytest.approx(REST_S, abs=2.0)

    virtually(main)


def test_a_request_that_failed_with_several_is_no_outage_when_each_is_answered() -> None:
    """It is not sent again for a while: whoever waits for the server would wait for it."""

    async def main() -> None:
        server = Server()
        server.of_batches = (502, "<html>")
        await gathered(server.end("a"), server.end("b"))
        server.of_batches = None
        await gathered(server.end("a"), server.end("b"))
        assert not server.traits.reach.is_failing

    virtually(main)


def test_what_is_under_way_at_the_end_is_given_up_and_leaves_no_task() -> None:
    """Whoever waits is told that nobody knows; what waits still goes alone."""

    async def main() -> None:
        server = Server()
        server.delay_s = 100.0
        writes = [asyncio.ensure_future(server.end(id_)) for id_ in "ab"]
        await asyncio.sleep(1.0)
        before = len(asyncio.all_tasks())
        await server.batches.aclose()
        assert [type(one) for one in await gathered(*writes)] == [TransportError, TransportError]
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == before - 3  # the writes, and what sent them
        await gathered(server.end("a"), server.end("b"))
        assert server.requests[1:] == [[END_A], [END_B]]

    virtually(main)


def test_a_request_of_a_batch_shows_when_the_server_is_back() -> None:
    """What waits after failures is told by whatever is answered that failed before, alone or not."""

    async def main() -> None:
        server = Server()
        server.of_batches = (502, "<html>")
        await gathered(server.end("a"), server.end("b"))
        assert server.traits.reach.is_failing
        server.of_batches = None
        await server.end("a")
        assert server.traits.reach.returns == 1

    virtually(main)


def test_an_error_names_the_write_and_not_what_it_held() -> None:
    """As one of a request of its own."""

    async def main() -> None:
        server = Server()
        server.of_paths = {"/api/jobs/runs/a": (404, {"error": {"code": "run_not_found", "message": "none"}})}
        found, _ = await gathered(server.end("a", error="a secret"), server.end("b"))
        assert isinstance(found, NotFound)
        assert str(found).startswith("PUT /base/api/jobs/runs/a answered 404")
        assert isinstance(found, ApiError)
        assert "secret" not in str(found)

    virtually(main)
