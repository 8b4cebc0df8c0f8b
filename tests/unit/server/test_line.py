"""The line of waiters: first come, first called, as many as tasks came."""

from __future__ import annotations

import pytest

from server.pending import line as line_module
from server.pending.line import Line, Waiter
from server.store.changes import TasksPending


def called(*waiters: Waiter) -> list[bool]:
    """Tell who has a call that was not used."""
    return [waiter.called_for is not None for waiter in waiters]


def test_as_many_are_called_as_tasks_came_from_the_front() -> None:
    """Two tasks call the two that waited longest."""
    line = Line(lambda _: None)
    waiters = [line.join("org", ()) for _ in range(3)]
    line.call("org", "noop", 2)
    assert called(*waiters) == [True, True, False]
    line.call("org", "noop", 5)
    assert called(*waiters) == [True, True, True]


def test_only_those_are_called_whom_the_task_fits() -> None:
    """Neither another type nor another organisation is woken."""
    line = Line(lambda _: None)
    other_type, other_org, fitting = line.join("org", ["b"]), line.join("x", ()), line.join("org", ["a", "b"])
    line.call("org", "a")
    assert called(other_type, other_org, fitting) == [False, False, True]


def test_who_leaves_with_an_unused_call_passes_it_on() -> None:
    """A waiter that went away costs nobody the task."""
    line = Line(lambda _: None)
    first, second = line.join("org", ()), line.join("org", ())
    line.call("org", "noop")
    line.leave(first)
    assert called(second) == [True]


def test_a_used_call_is_not_passed_on_and_leaving_twice_is_harmless() -> None:
    """Who was answered took the call with it."""
    line = Line(lambda _: None)
    first, second = line.join("org", ()), line.join("org", ())
    line.call("org", "noop")
    first.begin_look()
    first.use_call()
    line.leave(first)
    line.leave(first)
    assert called(second) == [False]
    assert line.length("org") == 1


def test_a_called_waiter_that_found_nothing_keeps_its_place() -> None:
    """Losing a race does not send anybody to the end of the line."""
    line = Line(lambda _: None)
    first, second = line.join("org", ()), line.join("org", ())
    line.call("org", "noop")
    first.begin_look()
    first.use_call()
    line.call("org", "noop")
    assert called(first, second) == [True, False]


def test_who_looks_already_is_called_where_nobody_else_is_left() -> None:
    """Its look may have begun before that task came; a third one is for the waiters of other servers."""
    unheard: list[TasksPending] = []
    line = Line(unheard.append)
    first, second = line.join("org", ()), line.join("org", ())
    line.call("org", "noop")
    first.begin_look()
    line.call("org", "noop")
    assert called(first, second) == [False, True]
    line.call("org", "noop", 2)
    assert called(first, second) == [True, True]
    assert [pending.count for pending in unheard] == [1]


def test_who_leaves_in_the_middle_of_a_look_passes_all_its_calls_on() -> None:
    """The one that the look was to answer, and the one that came meanwhile."""
    line = Line(lambda _: None)
    first = line.join("org", ())
    line.call("org", "noop")
    first.begin_look()
    line.call("org", "noop")
    second, third = line.join("org", ()), line.join("org", ())
    line.leave(first)
    assert called(second, third) == [True, True]


def test_a_call_after_a_place_skips_those_before_it() -> None:
    """A waiter that looks at a part only lets the next one look, not itself again."""
    line = Line(lambda _: None)
    first, second = line.join("org", ()), line.join("org", ())
    line.call("org", "noop", after=first.place)
    assert called(first, second) == [False, True]


def test_an_organisation_with_many_waiters_leaves_others_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full line has room for who has less than its share; the one that waited longest of the most goes."""
    monkeypatch.setattr(line_module, "MOST_WAITING", 6)
    line = Line(lambda _: None)
    many = [line.join("many", ()) for _ in range(6)]
    assert not line.has_room_for("many")
    line.call("many", "noop")
    for count in range(1, 4):
        assert line.has_room_for("few")
        line.join("few", ())
        assert (line.length("few"), line.length("many"), line.total) == (count, 6 - count, 6)
    assert not line.has_room_for("few")
    assert [waiter.is_sent_away for waiter in many] == [True] * 3 + [False] * 3
    assert called(many[3]) == [True]  # the call of who was sent away went to the next
    assert line.has_room_for("third")
