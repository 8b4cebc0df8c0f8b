"""At the start, before polling: bring to an end what an earlier life of this agent left open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from msgspec import structs

from worker.agent.claim_rules import Verdict, rule_election
from worker.agent.server_kind import ServerKind
from worker.agent.wire_run import RunWire
from worker.api.errors import Forbidden, RateLimited, Rejected, Unauthorized, Unknown
from worker.api.models import Identity, Run
from worker.api.retry import PATIENT
from worker.api.wire import ErrorKind, ResultCode, parse_instant
from worker.clock import Clock
from worker.executor.outcome import Outcome, RunError
from worker.reporting.journal import Journal
from worker.reporting.records import Entry
from worker.reporting.report import terminal_report
from worker.usage.usage import Usage

__all__ = ["Recovery"]

KEPT = frozenset({"fenced", "reduced", "refused"})  # marks of outcomes that stay for a person
log = structlog.get_logger()


class Recovery:
    """Look at each open entry's run, and write to it only where the identity is ours."""

    def __init__(
        self,
        runs: RunWire,
        journal: Journal,
        clock: Clock,
        *,
        kind: ServerKind,
        deliver: Callable[[Entry], None],
    ) -> None:
        """`deliver` is given the entries that have an outcome, now or from before."""
        self._kind = kind
        self._runs = runs
        self._journal = journal
        self._clock = clock
        self._deliver = deliver

    async def run(self) -> None:
        """Recover every open entry; returns when each one is closed, kept, or on its way."""
        for entry in list(self._journal.entries.values()):
            if KEPT.isdisjoint(entry.marks):
                await self._recover(entry)

    async def _recover(self, entry: Entry) -> None:
        if self._kind.elects and entry.terminal is None and "elected" not in entry.marks:
            await self._end_election(entry)
            return
        run = await self._runs.look(entry.run_id)
        if run is None:
            run = await self._repost(entry)
        identity = our_identity(entry, run)
        if run is None or identity is None:
            await self._leave(entry)
        elif entry.terminal is not None:
            log.info("recovery.outcome", run_id=entry.run_id)
            self._deliver(entry)
        elif run.raw.get("stoppedAt"):
            await self._journal.close_entry(entry.run_id)
        else:
            await self._end_lost(entry, identity)

    async def _end_election(self, entry: Entry) -> None:
        """Finish an election that was under way: a lost one is closed, a won one is requeued."""
        identity = Identity(entry.pod_id, must_be_instant(entry.started_at))
        runs = await self._runs.list_all(entry.task_id, entry.job_id)
        overwrites = self._kind is ServerKind.OVERWRITES
        election = rule_election(runs, identity, entry.task_id, overwrites=overwrites)
        for double in election.doubles:
            await self._runs.close_lost(double.id, identity, "one claim that lost answers made several of")
        if election.run is None:
            await self._journal.close_entry(entry.run_id)
        elif election.verdict is Verdict.WON and election.run.id == entry.run_id:
            await self._end_lost(entry, identity)
        else:
            await self._runs.close_lost(election.run.id, identity, "another run of the task was earlier")
            await self._journal.close_entry(entry.run_id)

    async def _repost(self, entry: Entry) -> Run | None:
        """Post an intent again whose request may still be on its way, so that it can be closed for good."""
        if entry.terminal is not None or not entry.intent:
            return None
        backoff = self._runs.backoff(PATIENT)
        while True:
            try:
                return await self._runs.create(entry.intent)
            except (RateLimited, Unauthorized, Forbidden, Unknown) as error:
                await backoff.sleep(error)
            except Rejected:
                return await self._runs.look(entry.run_id)

    async def _leave(self, entry: Entry) -> None:
        """Close an entry whose run is another's; a finished result stays, marked, for a person."""
        if entry.terminal is not None and entry.terminal.get("resultCode") == ResultCode.SUCCESS:
            log.error("recovery.result_kept", run_id=entry.run_id, hint="the run is not ours any more")
            await self._journal.mark(entry.run_id, "fenced")
        else:
            await self._journal.close_entry(entry.run_id)

    async def _end_lost(self, entry: Entry, identity: Identity) -> None:
        """Say that the run died with its agent, with the bill that is known, and requeue its task."""
        usage = structs.replace(entry.usage, complete=False) if entry.usage else Usage()
        error = RunError(
            kind=ErrorKind.WORKER_LOST, message="the agent ended while the run was going", retryable=True
        )
        outcome = Outcome(code=ResultCode.FAILED, error=error, usage=usage)
        report = terminal_report(outcome, identity, self._clock.now(), 0.0)
        report.pop("progress", None)  # the last one that was reported stands
        log.warning("recovery.run_lost", run_id=entry.run_id, task_id=entry.task_id)
        await self._journal.terminal(entry.run_id, report, requeue=True)
        self._deliver(self._journal.entries[entry.run_id])


def must_be_instant(text: str) -> datetime:
    """Read a time that we wrote ourselves."""
    if (at := parse_instant(text)) is None:
        raise ValueError(f"the journal holds {text!r} where a time belongs")
    return at


def our_identity(entry: Entry, run: Run | None) -> Identity | None:
    """Return the identity of ours that a run carries: the claim's, or its probe's; None where another's."""
    if run is None:
        return None
    for pod_id, started_at in identities_of(entry):
        at = parse_instant(started_at)
        if at is not None and (identity := Identity(pod_id, at)).owns(run):
            return identity
    return None


def identities_of(entry: Entry) -> list[tuple[str, str]]:
    """Return the identities that an entry's run may carry."""
    found = [(entry.pod_id, entry.started_at)]
    for mark in entry.marks:
        if mark.startswith("probe|"):
            _, started_at, pod_id = mark.split("|", 2)
            found.append((pod_id, started_at))
    return found
