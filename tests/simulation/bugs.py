"""Safeguards of the agent, each with the bug that comes back when it is taken away.

A bug is re-introduced into the running code, never into a file: `with reintroduced("fencing"): …`.
`docs/protocol.md` lists what each safeguard is for. A simulation that misses one proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch  # nothing else takes a single safeguard out of code that is running

from msgspec import Struct, structs

import worker.agent.claim
import worker.agent.election
import worker.agent.recovery
import worker.reporting.delivery
import worker.reporting.requeue
from worker.agent.claim import Claimer
from worker.agent.claim_rules import Election, Verdict, rule_election
from worker.agent.election import Elections
from worker.agent.identity import our_identity
from worker.agent.job_states import JobStates
from worker.agent.poller import Poller
from worker.agent.recovery import Recovery
from worker.agent.server_kind import ServerKind
from worker.agent.wire_run import RunWire
from worker.api.errors import ApiError, Conflict, Unknown
from worker.api.ids import claim_run_id
from worker.api.models import Identity, Run
from worker.api.retry import DELIVER, Backoff
from worker.executor.lease import Lease
from worker.reporting.delivery import Delivered, Delivery
from worker.reporting.journal import Journal
from worker.reporting.records import Entry
from worker.reporting.reporter import Reporter
from worker.reporting.requeue import Requeues
from worker.reporting.segments import SegmentWriter

__all__ = ["BUGS", "Bug", "reintroduced"]

Change = tuple[Any, str, Any]  # of what, which name, and what stands there instead
KILLS: Final = "kills and faults"
AWAY: Final = "server away while runs end"
PARTED: Final = "leases, machines parted"
LATE: Final = "leases, answers come late"


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


# before the claim


def no_intent() -> Sequence[Change]:
    """Keep an intent in memory only."""

    async def intent(self: Journal, entry: Entry) -> None:
        self._entries[entry.run_id] = entry

    return [(Journal, "intent", intent)]


def other_ids() -> Sequence[Change]:
    """Give each claim an id that no other agent computes."""
    return [(worker.agent.claim, "claim_run_id", lambda *of: fresh_id())]


def one_id_for_all_placeholders() -> Sequence[Change]:
    """Take the id of a claim from the task alone, also when it was requeued."""

    def id_of(task_id: str, placeholder_id: str | None = None) -> str:
        return claim_run_id(task_id, placeholder_id and "any")

    return [(worker.agent.claim, "claim_run_id", id_of)]


def two_attempts() -> Sequence[Change]:
    """Hand a task out again while it is tried or executed here, and claim it beside that."""
    real = Claimer.__init__

    def init(self: Claimer, runs: RunWire, journal: Journal, *of: Any, **options: Any) -> None:
        real(self, runs, Forgetful(journal), *of, **options)  # type: ignore[arg-type]

    def is_tried(self: Poller, task_id: str) -> bool:
        return self._tried.get(task_id, 0.0) > self._clock.mono()

    return [(Poller, "_is_tried", is_tried), (Claimer, "__init__", init)]


class Forgetful:
    """A journal that shows no claims that are under way."""

    def __init__(self, journal: Journal) -> None:
        """Stand before it."""
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        """Be the journal otherwise."""
        return getattr(self._journal, name)

    @property
    def entries(self) -> dict[str, Entry]:
        """Return the entries that have an outcome."""
        return {id_: entry for id_, entry in self._journal.entries.items() if entry.has_outcome}


# what a claim's answer means


def guesses() -> Sequence[Change]:
    """Take a claim that was not answered as made."""
    real = RunWire.create

    async def create(self: RunWire, body: dict[str, Any]) -> Run:
        try:
            return await real(self, body)
        except Unknown:
            run = Run.read({"stoppedAt": None, **body}, {})
            assert run is not None
            return run

    return [(RunWire, "create", create)]


def forgets_the_unanswered() -> Sequence[Change]:
    """Take a claim that was not answered as not made."""
    real = RunWire.create

    async def create(self: RunWire, body: dict[str, Any]) -> Run:
        try:
            return await real(self, body)
        except Unknown as error:
            raise Conflict("lost", status=409, code="task_not_pending") from error

    return [(RunWire, "create", create)]


def believes_refusals() -> Sequence[Change]:
    """Leave a task whose id is taken, without a look at who has it."""

    async def after_refusal(self: Claimer, *of: Any) -> None:
        return None

    return [(Claimer, "_after_refusal", after_refusal)]


def any_identity() -> Sequence[Change]:
    """Take every run for one's own."""
    return [(Identity, "owns", lambda self, run: True)]


# servers that are not strict about ids


def no_probe() -> Sequence[Change]:
    """Believe that every server keeps ids unique."""

    def kind(self: Claimer) -> ServerKind:
        return ServerKind.KEY if self._kind is ServerKind.UNKNOWN else self._kind

    return [(Claimer, "kind", property(kind))]


def no_settle_time() -> Sequence[Change]:
    """Decide an election before every list shows every candidate."""
    real = Elections._decide

    async def decide(self: Elections, *of: Any) -> Any:
        self._settle_s = 0.0
        return await real(self, *of)

    return [(Elections, "_decide", decide)]


def everybody_wins() -> Sequence[Change]:
    """Win every election."""

    def rule(*of: Any, **options: Any) -> Election:
        election = rule_election(*of, **options)
        return structs.replace(election, verdict=Verdict.WON) if election.run else election

    return [(worker.agent.election, "rule_election", rule)]


def doubles_stay() -> Sequence[Change]:
    """Leave the runs that lost answers made of one claim."""

    def rule(*of: Any, **options: Any) -> Election:
        return structs.replace(rule_election(*of, **options), doubles=())

    return [(worker.agent.election, "rule_election", rule)]


def no_echo() -> Sequence[Change]:
    """Do not care whether the task shows the outcome of an election."""

    async def show(self: Delivery, entry: Entry, report: Any) -> None:
        return None

    return [(Delivery, "_show", show)]


# leases and fencing


def no_freeze() -> Sequence[Change]:
    """Let a run go on after its lease."""
    return [(Lease, "freeze_mono", property(lambda self: float("inf")))]


def lease_from_the_answer() -> Sequence[Change]:
    """Count a lease from when the answer came."""
    real = Reporter._weigh

    def weigh(self: Reporter, run: Run, asked_mono: float) -> None:
        real(self, run, self._clock.mono())

    return [(Reporter, "_weigh", weigh)]


def no_fencing() -> Sequence[Change]:
    """Never believe that a run is lost."""
    return [(Reporter, "_lose", lambda self, *of: None)]


def believes_hearsay() -> Sequence[Change]:
    """Take what a proxy says for the word of the API."""
    return [(ApiError, "is_documented", property(lambda self: True))]


# the outcome


def unsynced() -> Sequence[Change]:
    """Send an outcome that the disk may still lose."""

    async def sync(self: SegmentWriter) -> None:
        return None

    return [(SegmentWriter, "sync", sync)]


def closed_early() -> Sequence[Change]:
    """Let the journal's entry go when the report is sent, not when it is answered."""
    real = Delivery.deliver

    async def deliver(self: Delivery, entry: Entry) -> Delivered:
        await self._journal.close_entry(entry.run_id)
        return await real(self, entry)

    return [(Delivery, "deliver", deliver)]


def gives_up() -> Sequence[Change]:
    """Drop a result that could not be delivered for five minutes, as others do."""
    real = Delivery.deliver

    async def deliver(self: Delivery, entry: Entry) -> Delivered:
        delivered = await real(self, entry)
        if delivered is Delivered.UNDELIVERED:
            await self._journal.close_entry(entry.run_id)
        return delivered

    soon = structs.replace(DELIVER, limit_s=300.0)
    return [(worker.reporting.delivery, "DELIVER", soon), (Delivery, "deliver", deliver)]


def own_report_unknown() -> Sequence[Change]:
    """Do not know one's own report again whose answer got lost."""
    return [(worker.reporting.delivery, "is_our_report", lambda *of: False)]


def hammers() -> Sequence[Change]:
    """Ask again at once."""
    return [(Backoff, "next_s", lambda self, *of: 0.0)]


# the requeue


def no_requeue() -> Sequence[Change]:
    """Stop a run, and leave its task failed."""

    async def requeue(self: Requeues, entry: Entry) -> None:
        return None

    return [(Requeues, "requeue", requeue)]


def requeues_late() -> Sequence[Change]:
    """Stop the run first, and post the placeholder then."""
    real_deliver, real_requeue = Delivery.deliver, Requeues.requeue

    async def nothing(self: Requeues, entry: Entry) -> None:
        return None

    async def deliver(self: Delivery, entry: Entry) -> Delivered:
        delivered = await real_deliver(self, entry)
        if entry.requeue:
            await real_requeue(self._requeues, entry)
        return delivered

    return [(Requeues, "requeue", nothing), (Delivery, "deliver", deliver)]


def requeues_twice() -> Sequence[Change]:
    """Give each try of a requeue an id of its own."""
    return [(worker.reporting.requeue, "requeue_run_id", lambda of: fresh_id())]


def requeues_the_cancelled() -> Sequence[Change]:
    """Requeue without a look at the job."""
    return [(worker.reporting.requeue, "STOPPING", frozenset())]


def does_not_cancel() -> Sequence[Change]:
    """Let the runs of a cancelled job go on."""
    return [(JobStates, "watch", lambda self, job_id, stop: lambda: None)]


# the next start


def no_recovery() -> Sequence[Change]:
    """Begin anew, whatever an earlier life left."""

    async def recover(self: Recovery, entry: Entry) -> None:
        await self._journal.close_entry(entry.run_id)

    return [(Recovery, "_recover", recover)]


def recovers_what_is_anothers() -> Sequence[Change]:
    """End the run of an intent, whoever has it."""

    def identity(entry: Entry, run: Run | None) -> Identity | None:
        at = worker.agent.recovery.must_be_instant(entry.started_at)
        return our_identity(entry, run) or (Identity(entry.pod_id, at) if run else None)

    return [(worker.agent.recovery, "our_identity", identity)]


def forgets_intents() -> Sequence[Change]:
    """Drop an intent whose run is not there, though its request may be on its way."""

    async def repost(self: Recovery, entry: Entry) -> None:
        return None

    return [(Recovery, "_repost", repost)]


class Fresh:
    """Ids that nobody else computes; a count, so that a history can be repeated."""

    count = 0


def fresh_id() -> str:
    """Return the next one."""
    Fresh.count += 1
    return hashlib.blake2b(str(Fresh.count).encode(), digest_size=16).hexdigest()


BUGS: Final = {
    "intent": Bug("a claim that its agent did not survive stays live for ever", KILLS, no_intent),
    "common id": Bug("two agents claim one task under two ids", KILLS, other_ids),
    "id of the placeholder": Bug(
        "a task can be requeued once only", KILLS, one_id_for_all_placeholders
    ),
    "one attempt a task": Bug("a slow claim forgets a second one's run", "answers come late", two_attempts),
    "never a guess": Bug("a handler starts on a claim that nobody has", KILLS, guesses),
    "ask again": Bug("a claim that was taken is forgotten", KILLS, forgets_the_unanswered),
    "look who has it": Bug("a requeued task is never taken", "kills", believes_refusals),
    "identity": Bug("an agent executes what another has claimed", KILLS, any_identity),
    "probe": Bug("two agents execute on a server that overwrites", "overwritten, all", no_probe),
    "settle time": Bug("two agents win an election", "ids ignored, all", no_settle_time),
    "earliest wins": Bug("everybody wins an election", "ids ignored, all", everybody_wins),
    "close doubles": Bug("a second run of one claim stays live", "ids ignored, answers lost", doubles_stay),
    "echo": Bug("a task does not show its outcome", "ids ignored, all", no_echo),
    "freeze": Bug("a run goes on after its task was given away", PARTED, no_freeze),
    "lease from the sending": Bug("a late answer renews a lease too long", LATE, lease_from_the_answer),
    "fencing": Bug("a run that was given away never ends", PARTED, no_fencing),
    "documented errors only": Bug("a run is given up because a proxy says 404", KILLS, believes_hearsay),
    "sync": Bug("an outcome is lost with the machine's power", "leases, everything", unsynced),
    "close when answered": Bug("an outcome is lost with its agent", KILLS, closed_early),
    "patience": Bug("an outcome is dropped while the server is away", AWAY, gives_up),
    "own report": Bug("an outcome that was accepted is kept for a person", KILLS, own_report_unknown),
    "back-off": Bug("a server in trouble is hammered", KILLS, hammers),
    "requeue": Bug("an interrupted task stays failed", "drains and faults", no_requeue),
    "requeue before the stop": Bug("an interrupted task is seen failed", "drains and faults", requeues_late),
    "requeue once": Bug("a task is made pending again while it runs", KILLS, requeues_twice),
    "look at the job": Bug(
        "a cancelled task is made pending again", "job cancelled, kills", requeues_the_cancelled
    ),
    "cancel": Bug("runs of a cancelled job go on", "job cancelled", does_not_cancel),
    "recovery": Bug("what an agent left open is forgotten", KILLS, no_recovery),
    "recover one's own only": Bug("a run is ended that is another's", KILLS, recovers_what_is_anothers),
    "post intents again": Bug("a claim that arrives late stays live", KILLS, forgets_intents),
}  # fmt: skip
