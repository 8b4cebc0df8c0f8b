"""How the time of a drain is divided: in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from worker.agent.drain import Drain
from worker.api.wire import ErrorKind
from worker.executor.executor import StopRequest


def drain_of(timeout_s: float, *answers_s: float) -> Drain:
    """Return a drain that has seen a server take so long."""
    drain = Drain(VirtualClock(), timeout_s)
    for took_s in answers_s:
        drain.answered(took_s)
    return drain


@pytest.mark.parametrize(
    ("timeout_s", "answers_s", "grace_s"),
    [
        (0.0, [], 0.0),
        (5.0, [], 3.0),
        (15.0, [], 12.0),
        (30.0, [], 24.0),
        (120.0, [], 110.0),
        (120.0, [0.02], 110.0),  # a server that is well costs nothing
        (5.0, [1.0], 0.5),  # never more than nine tenths are kept
        (15.0, [1.0], 10.5),
        (120.0, [5.0, 0.1, 0.1, 0.1], 110.0),  # it was slow a while ago
    ],
)
def test_what_a_handler_gets_leaves_time_to_kill_and_to_report(
    timeout_s: float, answers_s: list[float], grace_s: float
) -> None:
    """A fifth, two to ten seconds; more where the server is slow."""
    assert drain_of(timeout_s, *answers_s).grace_s == pytest.approx(grace_s)


def test_a_run_that_is_met_late_in_a_drain_gets_no_time_of_the_last_reports() -> None:
    """A claim may be settled when most of the time is over."""

    async def main() -> float | None:
        drain = drain_of(30.0)
        drain.request(ErrorKind.DRAINED, "SIGTERM")
        await asyncio.sleep(20.0)
        late = StopRequest()
        drain.follow(late)
        return late.grace_s

    assert run_virtual(main()) == pytest.approx(4.0)


def test_what_passes_before_a_stop_is_seen_is_not_given_to_the_handler_again() -> None:
    """A child may start while the drain begins: its time is that of the drain, not its own."""

    async def main() -> float | None:
        drain, stop = drain_of(30.0), StopRequest()
        end = drain.follow(stop)
        drain.request(ErrorKind.DRAINED, "SIGTERM")
        await asyncio.sleep(10.0)
        end()
        return stop.grace_s

    assert run_virtual(main()) == pytest.approx(14.0)


def test_a_server_that_becomes_slow_brings_the_kill_nearer_and_never_puts_it_off() -> None:
    """The first report of a drain shows how long the last ones will take."""

    async def main() -> list[float | None]:
        drain, stop = drain_of(15.0), StopRequest()
        drain.follow(stop)
        drain.request(ErrorKind.DRAINED, "SIGTERM")
        found = [stop.grace_s]
        for took_s in (2.0, 0.0, 0.0):
            drain.answered(took_s)
            found.append(stop.grace_s)
        return found

    assert run_virtual(main()) == pytest.approx([12.0, 6.5, 6.5, 6.5])


def test_a_second_request_leaves_nothing_to_handlers() -> None:
    """Also where it comes at once; the deadline is five seconds away, or nearer."""

    async def main() -> tuple[float | None, float]:
        drain, stop = drain_of(30.0), StopRequest()
        drain.follow(stop)
        drain.request(ErrorKind.DRAINED, "SIGTERM")
        drain.request(ErrorKind.DRAINED, "SIGTERM")
        return stop.grace_s, drain.left_s()

    assert run_virtual(main()) == (0.0, 5.0)


def test_the_end_of_the_machine_counts_for_a_drain_however_long_it_may_take() -> None:
    """A cloud gives 30 s, the configuration ten minutes; or the other way round."""

    async def main(timeout_s: float, within_s: float) -> tuple[float | None, float, ErrorKind | None]:
        drain, stop = drain_of(timeout_s), StopRequest()
        drain.follow(stop)
        drain.request(ErrorKind.PREEMPTED, "the cloud takes it", within_s)
        return stop.grace_s, drain.left_s(), stop.kind

    assert run_virtual(main(600.0, 30.0)) == (24.0, 30.0, ErrorKind.PREEMPTED)
    assert run_virtual(main(30.0, 120.0)) == (110.0, 120.0, ErrorKind.PREEMPTED)


def test_the_signal_that_follows_a_notice_is_a_first_one() -> None:
    """Clouds send both: the end comes nearer, but not now; the next signal means now. Nothing puts it off."""

    async def main() -> list[tuple[float | None, float]]:
        drain, stop, seen = drain_of(30.0), StopRequest(), []
        drain.follow(stop)
        for kind, within_s in [
            (ErrorKind.PREEMPTED, 120.0),
            (ErrorKind.DRAINED, None),
            (ErrorKind.PREEMPTED, 600.0),
            (ErrorKind.PREEMPTED, 15.0),
            (ErrorKind.DRAINED, None),
        ]:
            drain.request(kind, "why", within_s)
            seen.append((stop.grace_s, drain.left_s()))
        assert (stop.kind, drain.kind) == (ErrorKind.PREEMPTED, ErrorKind.PREEMPTED)
        return seen

    assert run_virtual(main()) == [(110.0, 120.0), (24.0, 30.0), (24.0, 30.0), (12.0, 15.0), (0.0, 5.0)]


def test_who_waits_for_a_nearer_end_is_told_each_time() -> None:
    """Not by the first request, which is no nearer end."""

    async def main() -> list[bool]:
        drain, seen = drain_of(30.0), []
        for within_s in (100.0, 50.0, 20.0):
            waiting = asyncio.create_task(drain.nearer())
            await asyncio.sleep(0)
            drain.request(ErrorKind.PREEMPTED, "why", within_s)
            await asyncio.sleep(0.001)
            seen.append(waiting.done())
            waiting.cancel()
        return seen

    assert run_virtual(main()) == [False, True, True]


def test_an_end_brought_nearer_before_its_waiter_has_begun_is_not_missed() -> None:
    """A second SIGTERM may come in the same round of the loop in which the wait for the first one begins."""

    async def main() -> None:
        drain = drain_of(600.0)
        drain.request(ErrorKind.DRAINED, "SIGTERM")
        waiting = asyncio.create_task(drain.nearer())
        drain.request(ErrorKind.DRAINED, "SIGTERM")
        async with asyncio.timeout(1.0):
            await waiting

    run_virtual(main())
