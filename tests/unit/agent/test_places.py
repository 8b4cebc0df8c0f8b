"""Places for handlers: in order, never more than slots; when claims go ahead of them. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from worker.agent.places import AHEAD_MAX, AHEAD_MIN, SHORT_S, STREAK_MAX, WAIT_S, Places
from worker.api.wire import ErrorKind
from worker.executor.executor import StopRequest

T = TypeVar("T")


def in_places(slots: int, main: Callable[[Places], Awaitable[T]], *, streak: int = 2) -> T:
    """Do something with places in virtual time."""

    async def live() -> T:
        return await main(Places(slots, VirtualClock(), streak=streak))

    return run_virtual(live())


async def one_run(places: Places, name: str, takes_s: float, *, is_short: bool = True) -> bool:
    """Have a run in a place; tell whether it got one."""
    if not await places.take(name, StopRequest()):
        return False
    await asyncio.sleep(takes_s)
    places.leave(name, is_short=is_short)
    return True


async def short_runs(places: Places, count: int) -> None:
    """Have some, one after another."""
    for at in range(count):
        await one_run(places, f"short-{at}", 0.001)


@pytest.mark.parametrize(("slots", "ahead"), [(1, AHEAD_MIN), (8, 8), (64, AHEAD_MAX)])
def test_claims_go_ahead_after_a_streak_of_short_runs(slots: int, ahead: int) -> None:
    """As many as there are slots; some with one slot too, and not too many."""

    async def main(places: Places) -> list[int]:
        await short_runs(places, 2)
        before = places.ahead
        await short_runs(places, 1)
        return [before, places.ahead]

    assert in_places(slots, main, streak=3) == [0, ahead]


@pytest.mark.parametrize(("takes_s", "is_short"), [(SHORT_S, True), (0.001, False)])
def test_a_run_that_is_not_short_ends_the_streak(takes_s: float, is_short: bool) -> None:
    """One that takes its time, and one of which it is said."""

    async def main(places: Places) -> int:
        await short_runs(places, 2)
        await one_run(places, "long", takes_s, is_short=is_short)
        return places.ahead

    assert in_places(1, main) == 0


def test_nothing_goes_ahead_while_a_run_takes_longer() -> None:
    """Though others beside it are short still."""

    async def main(places: Places) -> list[int]:
        await short_runs(places, 2)
        long = asyncio.create_task(one_run(places, "long", 10.0))
        await asyncio.sleep(SHORT_S / 2)
        seen = [places.ahead]
        await asyncio.sleep(SHORT_S)
        await short_runs(places, 5)
        seen.append(places.ahead)
        long.cancel()
        return seen

    assert in_places(2, main) == [AHEAD_MIN, 0]


def test_where_it_may_not_be_nothing_goes_ahead() -> None:
    """It is asked each time."""
    answers = [True, False]

    async def main() -> list[int]:
        places = Places(1, VirtualClock(), may=lambda: answers.pop(0), streak=1)
        await short_runs(places, 1)
        return [places.ahead, places.ahead]

    assert run_virtual(main()) == [AHEAD_MIN, 0]


def test_places_are_given_in_the_order_in_which_they_were_asked_for() -> None:
    """And never more than there are."""
    at_once, most, order = set[str](), list[int](), list[str]()

    async def run(places: Places, name: str) -> None:
        assert await places.take(name, StopRequest())
        at_once.add(name)
        most.append(len(at_once))
        order.append(name)
        await asyncio.sleep(0.01)
        at_once.discard(name)
        places.leave(name, is_short=True)

    async def main(places: Places) -> None:
        await asyncio.gather(*(run(places, str(at)) for at in range(9)))

    in_places(2, main)
    assert order == [str(at) for at in range(9)]
    assert max(most) == 2


def test_who_waits_behind_a_long_run_is_sent_away_with_all_behind_it() -> None:
    """Soon, for others could begin with it; the next streak must be twice as long."""

    async def main(places: Places) -> tuple[list[bool], float, list[int]]:
        loop = asyncio.get_running_loop()
        await short_runs(places, 2)
        long = asyncio.create_task(one_run(places, "long", 10.0))
        await asyncio.sleep(0)
        began = loop.time()
        got = await asyncio.gather(*(one_run(places, f"behind-{at}", 0.0) for at in range(3)))
        waited_s = loop.time() - began
        assert await long
        await short_runs(places, 3)
        ahead = [places.ahead]
        await short_runs(places, 1)
        return got, waited_s, [*ahead, places.ahead]

    got, waited_s, ahead = in_places(1, main)
    assert got == [False] * 3
    assert waited_s == pytest.approx(WAIT_S)
    assert ahead == [0, AHEAD_MIN]


def test_who_comes_while_others_were_just_served_waits_no_longer_than_twice_the_time() -> None:
    """One timer is enough for all."""

    async def main(places: Places) -> float:
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(one_run(places, "first", 0.02))
        await asyncio.sleep(0)
        second = asyncio.create_task(one_run(places, "second", 10.0))  # for whom the timer is set
        await asyncio.sleep(0.03)
        began = loop.time()
        assert not await one_run(places, "third", 0.0)
        second.cancel()
        await first
        return loop.time() - began

    waited_s = in_places(1, main)
    assert WAIT_S <= waited_s <= 2 * WAIT_S


def test_a_long_time_of_short_runs_makes_up_for_one_that_was_not() -> None:
    """Else an agent that lives for a year would claim nothing ahead in the end."""

    async def main(places: Places) -> list[int]:
        for at in range(20):  # so that no streak is long enough
            long = asyncio.create_task(one_run(places, f"long-{at}", 10.0))
            await asyncio.sleep(0)
            await one_run(places, f"behind-{at}", 0.0)
            await long
        await short_runs(places, STREAK_MAX - 1)
        seen = [places.ahead]
        await short_runs(places, 1)
        await one_run(places, "long", 1.0)
        await short_runs(places, 2)
        return [*seen, places.ahead]

    assert in_places(1, main) == [0, AHEAD_MIN]


def test_who_is_told_to_stop_waits_no_longer_and_is_in_nobodys_way() -> None:
    """The one behind it gets the place."""

    async def main(places: Places) -> list[bool]:
        long = asyncio.create_task(one_run(places, "long", 0.1))
        await asyncio.sleep(0)
        stop = StopRequest()
        stopped = asyncio.create_task(places.take("stopped", stop))
        behind = asyncio.create_task(one_run(places, "behind", 0.0))
        await asyncio.sleep(0.01)
        stop.request(ErrorKind.DRAINED, "SIGTERM", 30.0)
        return [await stopped, await long, await behind]

    assert in_places(1, main) == [False, True, True]


@pytest.mark.parametrize("is_given", [False, True])
def test_who_is_cancelled_while_waiting_keeps_no_place(is_given: bool) -> None:
    """Not the one either that it is given in the same moment."""

    async def main(places: Places) -> bool:
        assert await places.take("first", StopRequest())
        waiting = asyncio.create_task(places.take("cancelled", StopRequest()))
        await asyncio.sleep(0)
        if is_given:
            places.leave("first", is_short=True)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if not is_given:
            places.leave("first", is_short=True)
        return await one_run(places, "next", 0.0)

    assert in_places(1, main) is True
