"""Safeguards of the agent, each with the bug that comes back when it is taken away.

A bug is re-introduced into the running code, never into a file: `with reintroduced("fencing"): …`.
`docs/protocol.md` lists what each safeguard is for. A simulation that misses one proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch  # nothing else takes a single safeguard out of code that is running

from msgspec import Struct

from tests.simulation.bugs import batches, claims, leases, offers, outcomes, places, recovery, retries
from tests.simulation.bugs.change import Change

__all__ = ["BUGS", "Bug", "reintroduced"]

KILLS: Final = "kills and faults"
AWAY: Final = "server away while runs end"
PARTED: Final = "leases, machines parted"
LATE: Final = "leases, answers come late"
AHEAD: Final = "claims ahead, kills, drains and faults"
BATCHES: Final = "batches, kills, drains and faults"


class Bug(Struct, frozen=True):
    """A safeguard that is gone."""

    says: str  # what goes wrong then
    mix: str  # of histories, in which it is found
    changes: Callable[[], Sequence[Change]]


@contextmanager
def reintroduced(name: str) -> Iterator[None]:
    """Have one bug back until the end of the block."""
    patches = [patch.object(*change) for change in BUGS[name].changes()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


BUGS: Final = {
    "intent": Bug("a claim that its agent did not survive stays live for ever", KILLS, claims.no_intent),
    "common id": Bug("two agents claim one task under two ids", KILLS, claims.other_ids),
    "id of the placeholder": Bug(
        "a task can be requeued once only", KILLS, claims.one_id_for_all_placeholders
    ),
    "one attempt a task": Bug(
        "a slow claim forgets a second one's run", "answers come late", claims.two_attempts
    ),
    "never a guess": Bug("a handler starts on a claim that nobody has", KILLS, claims.guesses),
    "ask again": Bug("a claim that was taken is forgotten", KILLS, claims.forgets_the_unanswered),
    "look who has it": Bug("a requeued task is never taken", "kills", claims.believes_refusals),
    "identity": Bug("an agent executes what another has claimed", KILLS, claims.any_identity),
    "probe": Bug("two agents execute on a server that overwrites", "overwritten, all", claims.no_probe),
    "settle time": Bug("two agents win an election", "ids ignored, all", claims.no_settle_time),
    "earliest wins": Bug("everybody wins an election", "ids ignored, all", claims.everybody_wins),
    "close doubles": Bug(
        "a second run of one claim stays live", "ids ignored, answers lost", claims.doubles_stay
    ),
    "echo": Bug("a task does not show its outcome", "ids ignored, all", claims.no_echo),
    "freeze": Bug("a run goes on after its task was given away", PARTED, leases.no_freeze),
    "lease from the sending": Bug(
        "a late answer renews a lease too long", LATE, leases.lease_from_the_answer
    ),
    "fencing": Bug("a run that was given away never ends", PARTED, leases.no_fencing),
    "documented errors only": Bug(
        "a run is given up because a proxy says 404", KILLS, leases.believes_hearsay
    ),
    "sync": Bug("an outcome is lost with the machine's power", "leases, everything", outcomes.unsynced),
    "close when answered": Bug("an outcome is lost with its agent", KILLS, outcomes.closed_early),
    "patience": Bug("an outcome is dropped while the server is away", AWAY, outcomes.gives_up),
    "own report": Bug(
        "an outcome that was accepted is kept for a person", KILLS, outcomes.own_report_unknown
    ),
    "back-off": Bug("a server in trouble is hammered", KILLS, outcomes.hammers),
    "requeue": Bug("an interrupted task stays failed", "drains and faults", outcomes.no_requeue),
    "requeue before the stop": Bug(
        "an interrupted task is seen failed", "drains and faults", outcomes.requeues_late
    ),
    "requeue once": Bug("a task is made pending again while it runs", KILLS, outcomes.requeues_twice),
    "look at the job": Bug(
        "a cancelled task is made pending again", "job cancelled, kills", outcomes.requeues_the_cancelled
    ),
    "cancel": Bug("runs of a cancelled job go on", "job cancelled", outcomes.does_not_cancel),
    "wait": Bug(
        "a task that failed is tried again at once", "retries, kills and faults", retries.does_not_wait
    ),
    "wait before the requeue": Bug(
        "a task is taken before its wait is known", "retries, kills and faults", retries.tells_the_wait_late
    ),
    "own clock": Bug(
        "a server without time has a failed task wait for ever",
        "retries, everything, server without time",
        retries.waits_anew,
    ),
    "recovery": Bug("what an agent left open is forgotten", KILLS, recovery.no_recovery),
    "recover one's own only": Bug(
        "a run is ended that is another's", KILLS, recovery.recovers_what_is_anothers
    ),
    "post intents again": Bug("a claim that arrives late stays live", KILLS, recovery.forgets_intents),
    "silence is of each": Bug(
        "a claim that went with others and was taken is forgotten", BATCHES, batches.takes_silence_for_a_no
    ),
    "give back": Bug(
        "a task that came to an agent that drains waits for the end of its lease",
        "offers, kills, drains and faults",
        offers.gives_nothing_back,
    ),
    "an answer for each": Bug(
        "a handler starts on a claim that another has", BATCHES, batches.one_answer_for_all
    ),
    "place": Bug("more handlers run at once than there are slots", AHEAD, places.no_places),
}
