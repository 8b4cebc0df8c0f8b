"""How many runs of a type an agent has at once, and how it asks for the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.simulation.loop import run_virtual
from tests.unit.agent.stub_api import Answer, Request, StubApi
from tests.unit.agent.test_poller import pending, poller
from worker.agent.assemble import type_limits
from worker.agent.poller import Poller
from worker.agent.rooms import Rooms

TYPES: dict[str, Any] = {"types": ["narrow", "wide"], "type_limits": {"narrow": 1, "elsewhere": 9}}


def test_a_type_is_full_with_as_many_runs_as_it_may_have() -> None:
    """One without a limit never is; why a task has to wait is said in words."""
    rooms = Rooms(["narrow", "wide"], {"narrow": 2})
    for _ in range(2):
        assert rooms.open() == ["narrow", "wide"]
        assert rooms.has_any
        rooms.take("narrow")
        rooms.take("wide")
    assert rooms.open() == ["wide"]
    assert rooms.unmet("narrow") == ("2 of 2 runs of type 'narrow' go on here already",)
    assert rooms.unmet("wide") == ()
    assert rooms.told() == "narrow 2 of 2"
    rooms.give_back("narrow")
    assert rooms.open() == ["narrow", "wide"]
    assert rooms.unmet("narrow") == ()


def test_there_is_room_until_every_type_has_as_many_runs_as_it_may() -> None:
    """Types that have no handler here count for nothing."""
    rooms = Rooms(["one", "two"], {"one": 1, "two": 1, "elsewhere": 1})
    rooms.take("one")
    assert rooms.has_any
    rooms.take("two")
    assert not rooms.has_any
    rooms.give_back("one")
    assert rooms.has_any


def test_the_operator_wins_over_the_handler() -> None:
    """Both ways: who owns the machine knows it."""
    options: dict[str, dict[str, Any]] = {
        "a": {"concurrency": 2},
        "b": {"concurrency": 3},
        "c": {"concurrency": None},
        "d": {},
    }
    assert type_limits(options, {"b": 7, "d": 1}) == {"a": 2, "b": 7, "d": 1}


def types_of(request: Request) -> str:
    """Return the first type that a poll asks for; the stub keeps one of several."""
    return request.query["type"]


def typed(request: Request) -> Answer:
    """Answer with two tasks of each type, as a server that knows no filter."""
    narrow, wide = pending("n1", "n2", type="narrow"), pending("w1", "w2", type="wide")
    return 200, {"tasks": narrow["tasks"] + wide["tasks"]}


def test_one_list_gives_no_more_tasks_of_a_type_than_may_run() -> None:
    """The rest of them are left, until one has ended; those of other types are not."""

    async def main() -> tuple[list[str], str]:
        one = poller(StubApi(typed), **TYPES)
        got = [(await one.next(4)).id for _ in range(3)]
        assert await one.next_or_none(1) is None  # the list again: one does not fit, the others are tried
        narrow = next(id_ for id_ in got if id_.startswith("n"))
        one.leave(narrow)
        return got, (await one.next(1)).id

    with capture_logs() as said:
        got, after = run_virtual(main())
    left = {line["task_id"]: line["reasons"] for line in said if line["event"] == "task.left"}
    assert sorted(id_[0] for id_ in got) == ["n", "w", "w"]
    (other,) = {"n1", "n2"} - set(got)
    assert left == {other: ["1 of 1 runs of type 'narrow' go on here already"]}
    assert after == other


@pytest.mark.parametrize("is_held", [True, False])
def test_a_place_that_becomes_free_is_filled_at_once(is_held: bool) -> None:
    """A poll for the other types that the server holds is given up, and a wait between polls is cut."""
    stub = StubApi(lambda request: (200, {"tasks": []}))

    def answer(request: Request) -> Answer:
        if types_of(request) == "wide":
            return 200, {"tasks": []}
        return 200, pending("n1" if len(stub.requests) == 1 else "n2", type="narrow")

    async def main() -> tuple[str, float, list[str]]:
        stub._answer = answer
        one: Poller = poller(stub, types=["narrow", "wide"], type_limits={"narrow": 1})
        assert (await one.next(2)).id == "n1"
        stub.delay_s = 30.0 if is_held else 0.0

        def end() -> None:
            stub.delay_s = 0.0
            one.leave("n1")

        asyncio.get_running_loop().call_later(7.0, end)
        found = await one.next(1)
        return found.id, asyncio.get_running_loop().time(), [types_of(one) for one in stub.requests]

    id_, at_s, types = run_virtual(main())
    assert id_ == "n2"
    assert 7.0 <= at_s < 8.2
    assert types[0] == "narrow"
    assert set(types[1:-1]) == {"wide"}
    assert types[-1] == "narrow"
