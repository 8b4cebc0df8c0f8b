"""The checker finds what it is there for: each made-up story has one thing wrong."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.chaos.book import Execution, Line, doubled, executions_of
from tests.chaos.cells import Victim
from tests.chaos.checker import Sort, Story, check, excused, kept
from tests.chaos.trap import Kill
from worker.reporting.records import Entry

S = 1_000_000_000


def run(**fields: Any) -> dict[str, Any]:
    """Return a run that succeeded."""
    given = {"id": "r1", "taskId": "t1", "startedAt": "x", "stoppedAt": "y", "resultCode": "Success"}
    return given | {"error": None, "results": {"token": "one"}} | fields


def execution(**fields: Any) -> Execution:
    """Return an execution that returned its token."""
    return replace(Execution("t1", "r1", "a", 7, 1 * S, 2 * S, "one"), **fields)


def entry(*marks: str) -> Entry:
    """Return an open entry with an outcome."""
    report = {"results": {"token": "two"}}
    return Entry(run_id="r0", task_id="t1", pod_id="p", started_at="x", terminal=report, marks=marks)


GOOD = Story(
    tasks={"t1": "plain"},
    shown={"t1": ("stopped", "Success")},
    runs=[run()],
    executions=[execution()],
    written=frozenset({"one"}),
    entries={"a": {}},
    kills=[],
)
OPEN = run(id="r2", startedAt=None, stoppedAt=None, resultCode=None, results=None)
LATER = execution(run_id="r2", begin_ns=3 * S, last_ns=4 * S)
OTHER = replace(LATER, token="two")
TWICE = [execution(run_id="r0", pid=6, begin_ns=0, last_ns=S + 1, token=None), execution()]
FAILED = run(id="r0", resultCode="Failed", results=None)
BEGUN = execution(run_id="r0", begin_ns=0, last_ns=S // 2, token=None)
UNTOLD = [execution(), execution(run_id="r0", begin_ns=0, last_ns=S // 2, token="two")]


def test_a_good_story_is_good() -> None:
    """One run, one success, its own token."""
    assert check(GOOD) == []


@pytest.mark.parametrize(
    ("story", "sort", "says"),
    [
        (replace(GOOD, shown={"t1": ("pending", None)}), Sort.STUCK, "shows ('pending', None)"),
        (replace(GOOD, runs=[run(), OPEN | {"startedAt": "x"}]),
         Sort.STUCK, "is live"),
        (replace(GOOD, runs=[run(), OPEN]),
         Sort.STUCK, "is open"),
        (replace(GOOD, runs=[run(), run(id="r2")], executions=[execution(), LATER]),
         Sort.DOUBLED, "succeeded by"),
        (replace(GOOD, executions=TWICE), Sort.DOUBLED, "before the last line"),
        (replace(GOOD, executions=[execution(begin_ns=0, last_ns=1, token=None), execution()]),
         Sort.DOUBLED, "was executed twice"),
        (replace(GOOD, runs=[run(results={"token": "two"})], executions=[execution(), OTHER]),
         Sort.LOST, "shows the result two"),
        (replace(GOOD, tasks={"t1": "file"}), Sort.LOST, "its stored files are []"),
        (replace(GOOD, executions=UNTOLD), Sort.LOST, "and it is nowhere"),
        (replace(GOOD, executions=UNTOLD, written=frozenset({"two"}), kills=[Kill(1, Victim.AGENT, "a")]),
         Sort.LOST, "was in the journal"),
        (replace(GOOD, entries={"a": {"r0": entry()}}), Sort.LEFTOVER, "journal of a: run r0"),
        (replace(GOOD, runs=[run(results={"token": "two"})], entries={"a": {"r0": entry("fenced")}}),
         Sort.LEFTOVER, "('fenced',)"),
        (replace(GOOD, entries={"a": {"r0": entry("reduced")}}), Sort.LEFTOVER, "('reduced',)"),
        (replace(GOOD, shown={"t1": ("pending", None)}, runs=[], entries={"a": {"r0": entry("fenced")}}),
         Sort.LEFTOVER, "('fenced',)"),
        (replace(GOOD, executions=[BEGUN, execution()], kills=[Kill(1, Victim.CHILD, "b")], runs=[
            run(), FAILED | {"error": "crashed: no receipt"},
        ]),
         Sort.WRONG, "ended as crashed"),
        (replace(GOOD, runs=[run(), FAILED | {"error": "worker_lost: the agent ended"}],
                 kills=[Kill(1, Victim.CHILD, "a")]),
         Sort.WRONG, "ended as worker_lost"),
        (replace(GOOD, runs=[run(), FAILED | {"error": "handler_error: x"}], executions=[BEGUN, execution()]),
         Sort.WRONG, "ended as handler_error"),
        (replace(GOOD, runs=[run(), FAILED | {"error": "timeout: x"}], kills=[Kill(1, Victim.CHILD, "a")]),
         Sort.WRONG, "ended as timeout"),
    ],
)  # fmt: skip
def test_each_broken_promise_is_named(story: Story, sort: Sort, says: str) -> None:
    """By its sort, and in words."""
    assert [(one.sort, says in one.says) for one in check(story) if says in one.says] == [(sort, True)]


@pytest.mark.parametrize(
    "story",
    [
        replace(GOOD, executions=UNTOLD, kills=[Kill(S // 2, Victim.CHILD, "a")]),
        replace(GOOD, executions=UNTOLD, entries={"a": {"r0": entry("fenced")}}),
        replace(GOOD, executions=UNTOLD, runs=[
            run(), FAILED | {"error": "worker_lost: its agent was silent for 3 s"},
        ]),
        replace(GOOD, executions=[BEGUN, execution()], kills=[Kill(1, Victim.MINDER, "a")], runs=[
            run(), FAILED | {"error": "crashed: no receipt"},
        ]),
        replace(GOOD, executions=[replace(BEGUN, is_failed=True), execution()], runs=[
            run(), FAILED | {"error": "handler_error: the first time"},
        ]),
        replace(GOOD, runs=[run(), FAILED | {"error": "worker_lost: the agent ended"}],
                kills=[Kill(1, Victim.AGENT, "a")]),
    ],
)  # fmt: skip
def test_what_nobody_could_keep_and_what_is_kept_for_a_person_is_no_fault(story: Story) -> None:
    """A child that is killed at its return, a fenced result in the journal, a run that was taken away."""
    assert check(story) == []


def test_a_kill_elsewhere_or_long_after_excuses_nothing() -> None:
    """The result must have been written down by then."""
    for kill in (
        Kill(S // 2, Victim.AGENT, "b"),
        Kill(S // 2 + S + 1, Victim.AGENT, "a"),
        Kill(1, Victim.SERVER, "a"),
    ):
        assert [one.sort for one in check(replace(GOOD, executions=UNTOLD, kills=[kill]))] == [Sort.LOST]
    lost = FAILED | {"error": "worker_lost: the agent ended while the run was going"}
    story = replace(GOOD, executions=UNTOLD, runs=[run(), lost])
    assert [one.sort for one in check(story)] == [Sort.LOST, Sort.WRONG]


def test_what_is_excused_and_what_is_kept_is_counted() -> None:
    """So that nobody takes a run of excuses for a proof."""
    assert (excused(GOOD), kept(GOOD)) == (0, 0)
    assert excused(replace(GOOD, executions=UNTOLD, kills=[Kill(S // 2, Victim.CHILD, "a")])) == 1
    assert kept(replace(GOOD, entries={"a": {"r0": entry("fenced")}})) == 1


def test_executions_are_read_from_lines() -> None:
    """From the first line to the last, whatever the last is; only of the tasks that are asked for."""
    lines = [
        Line(1, "begin", "t1", "r1", "a", 7, 1, "-"),
        Line(5, "return", "t1", "r1", "a", 7, 1, "one"),
        Line(3, "beat", "t1", "r1", "a", 7, 1, "-"),
        Line(6, "begin", "t1", "r2", "b", 8, 2, "-"),
        Line(9, "beat", "t1", "r2", "b", 8, 2, "-"),
        Line(2, "begin", "t2", "r3", "b", 8, 1, "-"),
    ]
    first, second = executions_of(lines, {"t1"})
    assert (first.begin_ns, first.last_ns, first.token) == (1, 5, "one")
    assert (second.begin_ns, second.last_ns, second.token) == (6, 9, None)
    assert doubled([first, second]) == []


def test_a_run_that_one_child_begins_twice_is_doubled() -> None:
    """Though its lines do not overlap."""
    lines = [
        Line(at, what, "t1", "r1", "a", 7, 1, "-")
        for at, what in enumerate(("begin", "beat", "begin", "beat"))
    ]
    assert doubled(executions_of(lines, {"t1"})) == ["task t1: run r1 was executed twice"]
