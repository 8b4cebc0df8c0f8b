"""Take one safeguard out of the code that runs; `tests/simulation/bugs` does it to the agent's protocol.

Each names the tests that must fail without it. `MILLHAND_WITHOUT=NAME pytest -p tests.safeguards.plugin …`
runs any tests so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from unittest.mock import patch  # nothing else takes a single safeguard out of code that is running

from msgspec import Struct

import worker.agent.ending
import worker.agent.offers
import worker.agent.operators.control.serving
import worker.agent.statedir
import worker.machine.notices
import worker.reporting.delivery
import worker.reporting.records
from tests.safeguards import of_offers, of_server
from tests.safeguards.change import Change
from worker.agent.attempt import Attempts
from worker.agent.drain import Drain
from worker.agent.holds import Holds
from worker.agent.turns import Turns
from worker.api.batches import Batches
from worker.api.connection import ServerTraits
from worker.api.reach import Reach
from worker.api.wire import BATCH_MOST, ErrorKind
from worker.executor.pulse import Pulse

__all__ = ["SAFEGUARDS", "Safeguard", "without"]


class Safeguard(Struct, frozen=True):
    """What is taken away."""

    says: str  # what goes wrong then
    tests: tuple[str, ...]  # that must fail
    changes: Callable[[], Sequence[Change]]


def without(name: str) -> None:
    """Take a safeguard away, for the rest of this process."""
    for change in SAFEGUARDS[name].changes():
        patch.object(*change).start()


def no_lock() -> Sequence[Change]:
    """Let two agents use one state directory."""
    return [(worker.agent.statedir, "lock", lambda lock_file, path: None)]


def starts_without_lease() -> Sequence[Change]:
    """Start a handler although its lease is over."""

    async def wait(self: Attempts, *of: Any) -> None:
        return None

    return [(Attempts, "_wait_for_lease", wait)]


def no_deadline_of_a_notice() -> Sequence[Change]:
    """Drain for as long as is configured, whatever a cloud says."""
    real = Drain.request

    def request(self: Drain, kind: ErrorKind, message: str, within_s: float | None = None) -> None:
        real(self, kind, message)

    return [(Drain, "request", request)]


def anybody_is_gce() -> Sequence[Change]:
    """Believe a notice without the header of who sends it."""
    return [(worker.machine.notices, "flavored", lambda answer: answer)]


def holds_nothing() -> Sequence[Change]:
    """Claim whatever stands against it."""
    return [(Holds, "is_held", property(lambda self: False))]


def anybody_orders() -> Sequence[Change]:
    """Let a handler give its agent orders."""
    return [(worker.agent.operators.control.serving, "refusal", lambda *of: None)]


def newer_is_damage() -> Sequence[Change]:
    """Take what a newer release wrote for damage."""
    records = worker.reporting.records
    nothing = lambda *of: None  # noqa: E731 - three of them
    return [
        (records, "check_form", nothing),
        (records, "check_version", nothing),
        (records, "kind_of", nothing),
    ]


def nobody_is_stuck() -> Sequence[Change]:
    """Take every loop for one that comes round."""
    return [(Turns, "stuck", lambda turns: ())]


def minders_never_silent() -> Sequence[Change]:
    """Take every minder for one that answers."""
    return [(Pulse, "is_silent", lambda pulse, ask: False)]


def nobody_comes_back() -> Sequence[Change]:
    """Take no answer for the end of an outage."""
    return [(Reach, "answered", lambda reach, what: None)]


def batches_for_everybody() -> Sequence[Change]:
    """Send several writes at once whatever the server says."""

    def learn(self: ServerTraits, said: str) -> None:
        self.batch_most = BATCH_MOST

    return [(ServerTraits, "_learn_batches", learn)]


def brief_for_everybody() -> Sequence[Change]:
    """Ask any server for brief answers."""
    return [(ServerTraits, "is_ours", True)]


def batches_never_rest() -> Sequence[Change]:
    """Send several writes at once again after a request of them that failed."""
    return [(Batches, "_rest", lambda self, error: None)]


SAFEGUARDS: Final = {
    "unique live run": Safeguard(
        "a fault of the rules lets two agents have one task",
        ("tests/unit/server/test_durability.py",),
        of_server.no_unique_index,
    ),
    "claim rules": Safeguard(
        "a task that is done, or whose job is paused, is started again",
        ("tests/contract/test_claims.py",),
        of_server.no_claim_rules,
    ),
    "unique id": Safeguard(
        "two agents that race are both told that the run is there",
        ("tests/contract/test_claims.py",),
        of_server.known_ids_pass,
    ),
    "whose report it is": Safeguard(
        "an agent writes over what another reports",
        ("tests/contract/test_claims.py",),
        of_server.anybody_reports,
    ),
    "the end is final": Safeguard(
        "an agent believes that another end than the run's was taken",
        ("tests/contract/test_claims.py",),
        of_server.stopped_runs_change,
    ),
    "reaper": Safeguard(
        "a machine that vanishes keeps its tasks", ("tests/unit/server/test_leases.py",), of_server.no_reaper
    ),
    "patience of the reaper": Safeguard(
        "a server that was away gives every task away",
        ("tests/unit/server/test_leases.py",),
        of_server.no_patience,
    ),
    "too late": Safeguard(
        "a late result counts beside the run that was started since",
        ("tests/unit/server/test_late_results.py",),
        of_server.always_in_time,
    ),
    "one agent a folder": Safeguard(
        "two agents write one journal", ("tests/unit/reporting/test_journal_disk.py",), no_lock
    ),
    "lease at the start": Safeguard(
        "a handler starts after its task was given away",
        ("tests/simulation/test_histories.py",),
        starts_without_lease,
    ),
    "deadline of a notice": Safeguard(
        "runs go on, untold, when their machine is gone",
        ("tests/unit/agent/test_preemption.py",),
        no_deadline_of_a_notice,
    ),
    "whose notice it is": Safeguard(
        "what a proxy says ends an agent", ("tests/unit/machine/test_machine_notices.py",), anybody_is_gce
    ),
    "hold": Safeguard(
        "an agent without memory, or whose machine is to go, takes more tasks",
        ("tests/unit/agent/test_preemption.py", "tests/unit/agent/test_memory_watch.py"),
        holds_nothing,
    ),
    "whose order it is": Safeguard(
        "a handler drains or pauses its agent",
        ("tests/unit/agent/operators/test_control.py",),
        anybody_orders,
    ),
    "newer journal": Safeguard(
        "after a rollback, outcomes that only the newer release can read are set aside as damaged",
        ("tests/unit/reporting/test_newer_form.py",),
        newer_is_damage,
    ),
    "turns": Safeguard(
        "an agent of which one loop is stuck stands still for ever",
        ("tests/unit/agent/test_turns.py",),
        nobody_is_stuck,
    ),
    "sign of life": Safeguard(
        "a minder that stands still holds no limit, and no run can be ended",
        ("tests/unit/minder/test_silent_minder.py",),
        minders_never_silent,
    ),
    "return": Safeguard(
        "a result waits on while the server is back, and its run is given away",
        ("tests/unit/api/test_reach.py",),
        nobody_comes_back,
    ),
    "batches are asked for": Safeguard(
        "a server that knows no batches is sent some",
        ("tests/unit/api/test_batches.py",),
        batches_for_everybody,
    ),
    "brief answers are asked for": Safeguard(
        "a server that knows the wish from elsewhere answers no claim",
        ("tests/unit/api/test_brief.py",),
        brief_for_everybody,
    ),
    "identity, in brief": Safeguard(
        "a run that was given to another is taken for one's own",
        ("tests/contract/test_brief_answers.py",),
        of_server.brief_without_identity,
    ),
    "give back goes on": Safeguard(
        "a poll that is given up leaves an entry that nobody delivers, and its task stands still",
        ("tests/unit/agent/test_offers_in_trouble.py",),
        of_offers.gives_back_within_the_poll,
    ),
    "open offer": Safeguard(
        "a refusal makes an agent forget an offer that has a task",
        ("tests/unit/agent/test_offers_in_trouble.py",),
        of_offers.forgets_refused_offers,
    ),
    "clock of an offer": Safeguard(
        "a run shows the step of a clock that was set",
        ("tests/unit/agent/test_offers_in_trouble.py",),
        of_offers.any_clock_will_do,
    ),
    "who offers is there": Safeguard(
        "a task is claimed for an agent that has gone",
        ("tests/unit/server/test_offers.py",),
        of_offers.anybody_is_there,
    ),
    "one task an offer": Safeguard(
        "an offer that comes twice, or late, gets a task that its agent never hears of",
        ("tests/contract/test_offers.py",),
        of_offers.offers_in_any_order,
    ),
    "offers are asked for": Safeguard(
        "a server that knows no offers is sent some",
        ("tests/unit/agent/test_offered_runs.py",),
        of_offers.offers_for_everybody,
    ),
    "what was offered": Safeguard(
        "a handler starts on a run that is another's",
        ("tests/unit/agent/test_offered_runs.py",),
        of_offers.any_run_was_offered,
    ),
    "lease of an offer": Safeguard(
        "a claim that was heard of late is held too long",
        ("tests/unit/agent/test_offered_runs.py",),
        of_offers.lease_from_the_answer,
    ),
    "rest of batches": Safeguard(
        "one that hangs holds up what goes with it, again and again",
        ("tests/unit/api/test_batches_failing.py",),
        batches_never_rest,
    ),
    "each write by itself": Safeguard(
        "one that is refused hides what became of the others",
        ("tests/contract/test_batches.py",),
        of_server.one_write_fails_all,
    ),
    "last answer": Safeguard(
        "a live report arrives after the outcome, and is the last word",
        ("tests/unit/agent/test_ending.py",),
        lambda: [(worker.agent.ending, "ANSWER_S", 0.0)],
    ),
    "last word": Safeguard(
        "a live report that was not answered is the last word for ever",
        ("tests/unit/agent/test_delivery.py",),
        lambda: [(worker.reporting.delivery, "LATE_MARK", "")],
    ),
}
