"""Writes that nobody waits for: whoever made them is told, whichever way they went."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.api.batching import CLAIM, END_A, END_B, Server, virtually
from worker.api.batches import ALONE_BYTES
from worker.api.errors import ApiError, Conflict, EmptyAnswer, TransportError

Told = list[dict[str, Any] | ApiError]
END = {"stoppedAt": "2026-01-01T00:00:01Z"}


def begun(server: Server, id_: str, told: Told, **fields: Any) -> bool:
    """Begin a report on a run."""
    return server.reports.begin_update(id_, {**END, **fields}, told.append)


def test_they_go_with_others_and_are_told_of_their_own_answers() -> None:
    """Two outcomes and a claim that is waited for, in one request."""

    async def main() -> None:
        server, told = Server(), Told()
        claim = asyncio.ensure_future(server.claim("c"))
        await asyncio.sleep(0)
        assert begun(server, "a", told)
        assert begun(server, "b", told)
        assert told == []
        assert (await claim).id == "c"
        assert server.requests == [[CLAIM, END_A, END_B]]
        assert told == [{"id": "a", **END}, {"id": "b", **END}]

    virtually(main)


def test_one_that_is_alone_goes_alone() -> None:
    """No batch of one; it is told all the same."""

    async def main() -> None:
        server, told = Server(), Told()
        assert begun(server, "a", told)
        await asyncio.sleep(1.0)
        assert server.requests == [[END_A]]
        assert told == [{"id": "a", **END}]

    virtually(main)


@pytest.mark.parametrize("others", [0, 1])
def test_a_refusal_is_told(others: int) -> None:
    """Alone or among others, as the error that who waits would get; the others have their answers."""

    async def main() -> None:
        server, told, fine = Server(), Told(), Told()
        server.of_paths = {"/api/jobs/runs/a": (409, {"error": {"code": "run_stopped", "message": "no"}})}
        begun(server, "a", told)
        for _ in range(others):
            begun(server, "b", fine)
        await asyncio.sleep(1.0)
        (error,) = told
        assert isinstance(error, Conflict)
        assert error.code == "run_stopped"
        assert len(fine) == others

    virtually(main)


def test_without_an_answer_that_is_told_of_each() -> None:
    """Nobody knows what was done, of any."""

    async def main() -> None:
        server, told = Server(), Told()
        server.of_batches = (502, "<html>")
        begun(server, "a", told)
        begun(server, "b", told)
        await asyncio.sleep(1.0)
        assert [isinstance(one, ApiError) for one in told] == [True, True]

    virtually(main)


def test_a_batch_that_is_refused_whole_lets_each_go_alone() -> None:
    """They are told of what came of that."""

    async def main() -> None:
        server, told = Server(), Told()
        server.of_batches = (404, {"error": {"code": "not_found", "message": "no"}})
        begun(server, "a", told)
        begun(server, "b", told)
        await asyncio.sleep(1.0)
        assert server.requests == [[END_A, END_B], [END_A], [END_B]]
        assert [one["id"] for one in told if isinstance(one, dict)] == ["a", "b"]

    virtually(main)


@pytest.mark.parametrize("reason", ["no batches", "too large", "closed", "client without"])
def test_where_none_go_together_nothing_is_begun(reason: str) -> None:
    """Who wanted it does it the other way."""

    async def main() -> None:
        server, told = Server(0 if reason == "no batches" else 32), Told()
        if reason == "closed":
            await server.batches.aclose()
        if reason == "client without":
            server.reports._batches = None
        error = "x" * ALONE_BYTES if reason == "too large" else ""
        assert not begun(server, "a", told, error=error)
        await asyncio.sleep(1.0)
        assert (server.requests, told) == ([], [])

    virtually(main)


def test_an_answer_without_a_run_is_none() -> None:
    """Something else answered, or a proxy cut it: the outcome is not taken for told."""

    async def main() -> None:
        server, told = Server(), Told()
        server.of_paths = {"/api/jobs/runs/a": (200, {"ok": True}), "/api/jobs/runs/b": (200, None)}
        begun(server, "a", told)
        begun(server, "b", told)
        await asyncio.sleep(1.0)
        assert [type(one) for one in told] == [TransportError, EmptyAnswer]

    virtually(main)


def test_a_fault_of_who_is_told_is_no_matter_of_the_others() -> None:
    """They have their answers."""

    async def main() -> None:
        server, told = Server(), Told()

        def fail(answer: object) -> None:
            raise RuntimeError("a fault of ours")

        server.reports.begin_update("a", END, fail)
        begun(server, "b", told)
        await asyncio.sleep(1.0)
        assert [one["id"] for one in told if isinstance(one, dict)] == ["b"]

    virtually(main)
