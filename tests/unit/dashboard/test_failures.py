"""Failures by kind, and what is much work to find."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from server.dashboard.failures import MOST_SAYINGS, by_kind
from server.dashboard.paced import MOST, SHARE, Answer, Paced
from server.store.outcomes import FailureGroup, Failures


def group(pattern: str, runs: int, newest: str | None = None) -> FailureGroup:
    """Return a group of failures."""
    return FailureGroup(
        pattern=pattern,
        newest_line=newest or pattern,
        newest_run_id="r",
        newest_stopped_at="",
        runs=runs,
        tasks=1,
    )


def test_kinds_come_by_how_often_they_are_told() -> None:
    """Each with what its runs say, without the kind; what begins with no word has none."""
    told = (
        ("crashed: exit", 5),
        ("timeout: a", 3),
        ("timeout: b: c", 3),
        ("no way: out of it", 2),
        ("drained", 1),
    )
    kinds = by_kind(Failures(groups=tuple(group(*one) for one in told)))
    shown = [(kind.name, kind.runs, [saying.text for saying in kind.sayings]) for kind in kinds]
    assert shown == [
        ("timeout", 6, ["a", "b: c"]),
        ("crashed", 5, ["exit"]),
        ("", 2, ["no way: out of it"]),
        ("drained", 1, [""]),
    ]
    assert kinds[0].meaning == "it took longer than it may"
    assert kinds[2].meaning == ""


def test_a_kind_with_many_sayings_is_cut_and_says_so() -> None:
    """No run is left out of the sums."""
    groups = tuple(group(f"crashed: {'x' * number}", 2) for number in range(1, MOST_SAYINGS + 4))
    (kind,) = by_kind(Failures(groups=groups))
    assert len(kind.sayings) == MOST_SAYINGS
    assert (kind.runs, kind.further, kind.is_cut) == (2 * (MOST_SAYINGS + 3), 6, True)
    (whole,) = by_kind(Failures(groups=groups[:MOST_SAYINGS]))
    assert not whole.is_cut


def test_only_what_differs_has_an_example() -> None:
    """A pattern alone would not say which frame."""
    kinds = by_kind(
        Failures(groups=(group("timeout: frame …", 2, "timeout: frame 7"), group("timeout: b", 1)))
    )
    assert [saying.is_folded for saying in kinds[0].sayings] == [True, False]


class StoodClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time that was set."""
        return self.at

    def mono(self) -> float:
        """Return seconds since 1970."""
        return self.at.timestamp()


class Found:
    """Something that takes a second to find, and is another each time."""

    def __init__(self, clock: StoodClock) -> None:
        self.clock = clock
        self.times = 0

    async def __call__(self) -> int:
        """Find it."""
        await asyncio.sleep(0)
        self.clock.at += timedelta(seconds=1)
        self.times += 1
        return self.times


def test_much_work_is_done_one_part_in_twenty_of_the_time() -> None:
    """Whoever asks meanwhile gets what was found, and when; work that is little is done each time."""

    async def scene() -> None:
        clock = StoodClock()
        paced, found = Paced(clock), Found(clock)

        async def ask(key: str, *, is_much: bool) -> Answer[int]:
            return await paced.ask(key, found, lambda _: is_much)

        begun = clock.now()
        first, second = await asyncio.gather(ask("a", is_much=True), ask("a", is_much=True))
        assert (first.value, second.value, first.as_of) == (1, 1, begun)
        clock.at += timedelta(seconds=SHARE - 0.5)
        assert (await ask("a", is_much=True)).value == 1
        clock.at += timedelta(seconds=0.5)
        assert (await ask("a", is_much=True)).value == 1  # nobody waits, and it is looked for
        await asyncio.wait(paced._beside.values())
        assert paced._beside == {}
        assert (await ask("a", is_much=True)).value == 2
        clock.at += timedelta(seconds=2 * SHARE)
        assert (await ask("a", is_much=True)).value == 3  # too old to be told
        little = [await ask("b", is_much=False) for _ in range(2)]
        assert [(one.value, one.as_of) for one in little] == [(4, None), (5, None)]

    asyncio.run(scene())


def test_what_is_looked_for_beside_may_fail_or_be_given_up() -> None:
    """The answer is told as long as it is bearable, then the failure; the end of the server ends it."""

    async def scene() -> None:
        clock = StoodClock()
        paced, found = Paced(clock), Found(clock)

        async def broken() -> int:
            await asyncio.sleep(0)
            raise OSError("no disk")

        async def endless() -> int:
            await asyncio.Event().wait()
            raise AssertionError

        await paced.ask("a", found, lambda _: True)
        clock.at += timedelta(seconds=SHARE)
        for find in (broken, endless):
            assert (await paced.ask("a", find, lambda _: True)).value == 1
            (task,) = paced._beside.values()
            if find is endless:
                await asyncio.sleep(0)
                paced.close()
            await asyncio.wait({task})
            assert paced._beside == {}
        clock.at += timedelta(seconds=SHARE)
        with pytest.raises(OSError, match="no disk"):
            await paced.ask("a", broken, lambda _: True)

    asyncio.run(scene())


def test_what_failed_is_not_tried_again_at_once() -> None:
    """Each try of ten seconds that the database gives up costs it as much as one that it answers."""

    async def scene() -> None:
        clock, tries = StoodClock(), 0
        paced, found = Paced(clock), Found(clock)

        async def long_and_in_vain() -> int:
            nonlocal tries
            tries += 1
            await found()  # a second
            raise OSError("too long")

        for _ in range(3):
            with pytest.raises(OSError, match="too long"):
                await paced.ask("a", long_and_in_vain, lambda _: True)
            with pytest.raises(OSError, match="too long"):
                await paced.soon("a", long_and_in_vain)
        assert tries == 1
        assert (await paced.ask("b", found, lambda _: True)).value == 2
        clock.at += timedelta(seconds=SHARE)
        assert (await paced.ask("a", found, lambda _: True)).value == 3

    asyncio.run(scene())


def test_a_page_does_not_wait_long_for_what_takes_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown without that, which is looked for meanwhile; what fails at once is told."""

    async def scene() -> None:
        clock = StoodClock()
        paced, found, is_over = Paced(clock), Found(clock), asyncio.Event()

        async def slow() -> int:
            await is_over.wait()
            return await found()

        async def broken() -> int:
            raise OSError("no disk")

        assert (await paced.soon("quick", found)) is not None
        with pytest.raises(OSError, match="no disk"):
            await paced.soon("broken", broken)
        monkeypatch.setattr("server.dashboard.paced.PATIENCE_S", 0.0)  # the bound itself, made small
        assert await paced.soon("slow", slow) is None
        assert await paced.soon("slow", slow) is None
        is_over.set()
        await asyncio.wait(paced._beside.values())
        answer = await paced.soon("slow", slow)
        assert answer is not None
        assert answer.value == found.times == 2

    asyncio.run(scene())


def test_who_fails_to_find_something_leaves_the_way_to_others() -> None:
    """And no answers are kept beyond a bound."""

    async def scene() -> None:
        clock = StoodClock()
        paced = Paced(clock)

        async def broken() -> int:
            raise OSError

        for _ in range(2):
            try:
                await paced.ask("a", broken, lambda _: True)
            except OSError:
                continue
            raise AssertionError
        assert (await paced.ask("a", Found(clock), lambda _: True)).value == 1
        for key in range(3 * MOST):
            await paced.ask(key, Found(clock), lambda _: True)
        assert len(paced._known) == MOST
        assert not paced._turns

    asyncio.run(scene())
