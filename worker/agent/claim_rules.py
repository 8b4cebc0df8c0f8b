"""What an answer means for a claim. Pure: no request is made here."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from worker.api.errors import Conflict, Rejected
from worker.api.ids import claim_run_id
from worker.api.models import Identity, Run, most_recent, recency
from worker.api.wire import ErrorKind, format_error

__all__ = [
    "Taken",
    "Verdict",
    "attempts_before",
    "checkpoint_of",
    "continued_as",
    "is_race_lost",
    "open_placeholders",
    "ours_among",
    "rule_election",
    "rule_probe",
    "rule_taken",
]

# What our server says when a race is lost: nothing stands under our id, and nothing is wrong.
RACE_LOST = frozenset({"task_not_pending", "job_not_active"})


class Taken(StrEnum):
    """What a run is that stands under the id of our claim."""

    OURS = "ours"  # an earlier try got through, its answer got lost
    LIVE = "live"  # somebody else's: leave the task
    ENDED = "ended"  # over: the task may have been requeued since, list its runs
    OPEN = "open"  # not started: not made by a claim; leave the task


class Verdict(StrEnum):
    """Where an election stands."""

    WON = "won"
    LOST = "lost"
    UNSEEN = "unseen"  # the list does not show our run yet: look again


def rule_taken(run: Run, identity: Identity) -> Taken:
    """Tell what a run under the id of our claim is."""
    if run.stopped_at is not None or run.raw.get("stoppedAt"):
        return Taken.ENDED
    if identity.owns(run):
        return Taken.OURS
    return Taken.LIVE if run.is_live else Taken.OPEN


def is_race_lost(error: Rejected) -> bool:
    """Tell whether our server says that the task is not to be had."""
    return isinstance(error, Conflict) and error.code in RACE_LOST


def rule_probe(run: Run, identity: Identity) -> bool:
    """Tell whether the server kept the first run when a second one was posted on its id."""
    return identity.owns(run) and not run.raw.get("stoppedAt")


def open_placeholders(runs: Sequence[Run]) -> list[Run]:
    """Return the placeholders of a task, oldest first; none where the most recent run is not one.

    The most recent one is the last; the claim takes its id from that.
    """
    latest = most_recent(runs)
    if latest is None or not latest.is_placeholder:
        return []
    return sorted((run for run in runs if run.is_placeholder), key=recency)


def attempts_before(runs: Sequence[Run]) -> int:
    """Count the attempts that a task has had: its started runs that ended, lost claims not counted."""
    return sum(
        1
        for run in runs
        if run.raw.get("startedAt") and run.raw.get("stoppedAt") and run.error_kind != "lost_claim"
    )


def checkpoint_of(runs: Sequence[Run]) -> object:
    """Return the checkpoint of the most recent run that left one; None where none did."""
    for run in sorted(runs, key=recency, reverse=True):
        if (checkpoint := run.results.get("checkpoint")) is not None:
            return checkpoint
    return None


def ours_among(runs: Sequence[Run], identity: Identity) -> list[Run]:
    """Return the live runs of our identity, oldest first: one claim that lost answers made several of."""
    return sorted((run for run in runs if identity.owns(run) and run.is_live), key=recency)


class Election(Struct, frozen=True):
    """The result of looking at the list of runs during an election."""

    verdict: Verdict
    run: Run | None = None  # the earliest run of ours
    doubles: tuple[Run, ...] = ()  # our other runs: to be closed
    placeholders: tuple[Run, ...] = ()  # to be closed by the winner


def rule_election(runs: Sequence[Run], identity: Identity, task_id: str, *, overwrites: bool) -> Election:
    """Decide an election from the list of a task's runs.

    The earliest live claim wins, and only if the run before it is none or a placeholder. Claims that
    were given up as `lost_claim` do not count. On a server that overwrites, runs under the ids that
    every agent computes alike were posted before its kind was known, and never executed.
    """
    shared = shared_ids(runs, task_id) if overwrites else frozenset()
    ours = [run for run in ours_among(runs, identity) if run.id not in shared]
    if not ours:
        return Election(Verdict.UNSEEN)
    before = [
        run
        for run in sorted(runs, key=recency)
        if recency(run) < recency(ours[0])
        and not identity.owns(run)
        and run.error_kind != "lost_claim"
        and run.id not in shared
    ]
    if before and not before[-1].is_placeholder and not is_taken_by(before[-1], ours):
        return Election(Verdict.LOST, ours[0], tuple(ours[1:]))
    return Election(Verdict.WON, ours[0], tuple(ours[1:]), tuple(run for run in before if run.is_placeholder))


def is_taken_by(run: Run, ours: Sequence[Run]) -> bool:
    """Tell whether a run is a placeholder that our claim has closed already, before its agent died."""
    taken = {format_error(ErrorKind.REQUEUED, continued_as(one.id)) for one in ours}
    return not run.raw.get("startedAt") and run.error in taken


def continued_as(run_id: str) -> str:
    """Return what the error of a placeholder says that a claim has taken."""
    return f"continued as run {run_id}"


def shared_ids(runs: Sequence[Run], task_id: str) -> frozenset[str]:
    """Return the ids that every agent would compute for a claim of this task."""
    return frozenset({claim_run_id(task_id), *(claim_run_id(task_id, run.id) for run in runs)})
