"""What an answer means for a claim."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import pytest

from tests.unit.agent.stub_api import run
from worker.agent.claim_rules import (
    Taken,
    Verdict,
    attempts_before,
    checkpoint_of,
    open_placeholders,
    rule_election,
    rule_taken,
)
from worker.api.ids import claim_run_id, requeue_run_id
from worker.api.models import Identity

AT = "2026-01-01T00:00:01.000Z"
LATER = "2026-01-01T00:00:02.000Z"
NAMESPACE = UUID("da545285-712f-4927-973f-e7f17535e48d")  # for ever
OURS = Identity("pod/a", datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))


def mine(id_: str = "mine", **fields: Any) -> Any:
    """Return a live run of our identity."""
    return run(id_, **{"podId": "pod/a", "startedAt": AT, **fields})


def theirs(id_: str = "theirs", **fields: Any) -> Any:
    """Return a live run of somebody else."""
    return run(id_, **{"podId": "pod/b", "startedAt": AT, **fields})


@pytest.mark.parametrize(
    ("found", "means"),
    [
        (mine(), Taken.OURS),
        (mine(startedAt="2026-01-01T00:00:01.000900Z"), Taken.OURS),
        (mine(startedAt="2026-01-01T01:00:01+01:00"), Taken.OURS),
        (mine(startedAt=LATER), Taken.LIVE),
        (theirs(), Taken.LIVE),
        (mine(stoppedAt=LATER), Taken.ENDED),
        (theirs(stoppedAt=LATER), Taken.ENDED),
        (theirs(stoppedAt="not a time"), Taken.ENDED),
        (run("p"), Taken.OPEN),
        (theirs(startedAt="not a time"), Taken.LIVE),
    ],
)
def test_a_run_under_the_id_of_our_claim_is_told_apart(found: Any, means: Taken) -> None:
    """Only our own live run is a claim; whatever cannot be read is never taken for free."""
    assert rule_taken(found, OURS) is means


def test_every_agent_computes_the_same_id_and_each_placeholder_gives_another() -> None:
    """The server's key can only decide a race between equal ids."""
    assert claim_run_id("t") == claim_run_id("t")
    ids = {claim_run_id("t"), claim_run_id("u"), claim_run_id("t", "p1"), claim_run_id("t", "p2")}
    assert len(ids | {requeue_run_id("t")}) == 5


@pytest.mark.parametrize("task_id", [*(f"task-{number}" for number in range(64)), "Aufgabe für später", ""])
def test_ids_are_those_of_the_standard(task_id: str) -> None:
    """Agents of every release, and of other makers, must come to the same ones: UUIDv5, RFC 9562."""
    assert claim_run_id(task_id) == str(uuid5(NAMESPACE, task_id))
    assert claim_run_id(task_id, "p") == str(uuid5(NAMESPACE, f"{task_id}:p"))
    assert requeue_run_id(task_id) == str(uuid5(NAMESPACE, f"requeue:{task_id}"))


def test_a_task_may_be_claimed_only_by_its_most_recent_placeholder() -> None:
    """A placeholder below a later run is history."""
    old = run("p1", createdAt="2026-01-01T00:00:01.000Z")
    new = run("p2", createdAt="2026-01-01T00:00:03.000Z")
    between = theirs(createdAt="2026-01-01T00:00:02.000Z", stoppedAt=LATER)
    assert [one.id for one in open_placeholders([new, between, old])] == ["p1", "p2"]
    assert open_placeholders([old, between]) == []
    assert open_placeholders([]) == []


def test_attempts_are_counted_without_lost_claims_and_placeholders() -> None:
    """A claim that lost a race executed nothing."""
    lost = theirs("b", stoppedAt=LATER, error="lost_claim: another was earlier")
    runs = [theirs("a", stoppedAt=LATER), lost, run("p"), run("q", stoppedAt=LATER), mine("c")]
    assert attempts_before(runs) == 1


def test_the_latest_checkpoint_is_handed_on() -> None:
    """A run that stopped early leaves where the next one goes on."""
    first = theirs("a", createdAt=AT, results={"checkpoint": 1})
    second = theirs("b", createdAt=LATER, results={"checkpoint": {"frame": 2}})
    assert checkpoint_of([second, first]) == {"frame": 2}
    assert checkpoint_of([theirs("c", results=None)]) is None


@pytest.mark.parametrize(
    ("before", "verdict"),
    [
        ([], Verdict.WON),
        ([run("p", createdAt=AT)], Verdict.WON),
        ([theirs(createdAt=AT)], Verdict.LOST),
        ([theirs(createdAt=AT, stoppedAt=LATER, resultCode="Success")], Verdict.LOST),
        ([theirs(createdAt=AT, stoppedAt=LATER, error="lost_claim: x")], Verdict.WON),
        ([theirs("1", createdAt=AT, stoppedAt=LATER), run("2", createdAt=LATER)], Verdict.WON),
        ([run("p", createdAt=AT, stoppedAt=LATER, error="requeued: continued as run mine")], Verdict.WON),
        ([run("p", createdAt=AT, stoppedAt=LATER, error="requeued: continued as run x")], Verdict.LOST),
    ],
)
def test_the_earliest_claim_wins_an_election(before: list[Any], verdict: Verdict) -> None:
    """And only if the run before it, lost claims not counted, is none or a placeholder."""
    ours = mine(createdAt="2026-01-01T00:00:05.000Z")
    later = theirs("later", createdAt="2026-01-01T00:00:06.000Z")
    election = rule_election([later, ours, *before], OURS, "t", overwrites=False)
    assert election.verdict is verdict
    assert election.run is not None
    assert election.run.id == "mine"


def test_equal_times_are_decided_by_the_id() -> None:
    """Two runs of one millisecond have one winner on every agent."""
    pair = [mine("b", createdAt=AT), theirs("a", createdAt=AT)]
    assert rule_election(pair, OURS, "t", overwrites=False).verdict is Verdict.LOST
    them = Identity("pod/b", OURS.started_at)
    assert rule_election(pair, them, "t", overwrites=False).verdict is Verdict.WON


def test_several_runs_of_one_identity_are_one_claim() -> None:
    """Lost answers make doubles; the earliest is kept, the rest are closed."""
    runs = [mine("2", createdAt=LATER), mine("1", createdAt=AT)]
    election = rule_election(runs, OURS, "t", overwrites=False)
    assert (election.verdict, [one.id for one in election.doubles]) == (Verdict.WON, ["2"])
    assert election.run is not None
    assert election.run.id == "1"


def test_a_list_that_lags_decides_nothing() -> None:
    """An election without our own run in the list is looked at again."""
    assert rule_election([theirs()], OURS, "t", overwrites=False).verdict is Verdict.UNSEEN


def test_shared_ids_on_a_server_that_overwrites_were_never_executed() -> None:
    """They were posted before the kind of the server was known, and closed."""
    shared = theirs(claim_run_id("t"), createdAt=AT, stoppedAt=LATER)
    ours = mine(createdAt=LATER)
    assert rule_election([shared, ours], OURS, "t", overwrites=True).verdict is Verdict.WON
    assert rule_election([shared, ours], OURS, "t", overwrites=False).verdict is Verdict.LOST
