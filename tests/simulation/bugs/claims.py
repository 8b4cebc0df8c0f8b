"""Bugs of claims: before one is posted, and in what its answer means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

import worker.agent.claim
import worker.agent.election
import worker.agent.recovery
import worker.reporting.delivery
import worker.reporting.requeue
from tests.simulation.bugs.change import Change, fresh_id
from worker.agent.claim import Claimer
from worker.agent.claim_rules import Election, Verdict, rule_election
from worker.agent.election import Elections
from worker.agent.poller import Poller
from worker.agent.server_kind import ServerKind
from worker.agent.wire_run import RunWire
from worker.api.errors import Conflict, Unknown
from worker.api.ids import claim_run_id
from worker.api.models import Identity, Run
from worker.reporting.delivery import Delivery
from worker.reporting.journal import Journal
from worker.reporting.records import Entry


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
