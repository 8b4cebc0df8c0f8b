"""At the start, before polling: bring to an end what an earlier life of this agent left open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from msgspec import structs

from worker.agent.claim_rules import Verdict, attempts_before, is_race_lost, rule_election
from worker.agent.identity import our_identity
from worker.agent.policies import Policies
from worker.agent.server_kind import ServerKind
from worker.agent.wire_run import DENIED, RunWire
from worker.api.errors import ApiError, Rejected, Unknown
from worker.api.models import Identity, Run
from worker.api.retry import PATIENT
from worker.api.wire import ErrorKind, ResultCode, parse_instant
from worker.clock import Clock
from worker.executor import retries
from worker.executor.outcome import Outcome, RunError
from worker.reporting.entry_state import KEPT
from worker.reporting.journal import Journal, JournalError
from worker.reporting.records import DELIVERED_MARK, Entry
from worker.reporting.report import terminal_report
from worker.usage.usage import Usage, read_details, unmeasured

__all__ = ["KEPT", "Recovery"]

REFUSALS_MAX = 10  # of a repeated claim, until they are believed: about a minute
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
        settle_s: float,
        policies: Policies,
        deliver: Callable[[Entry], None],
        resume: Callable[[Entry], None],
        follow_up: Callable[[str], None],
    ) -> None:
        """Take the parts.

        `settle_s` is how long lists may lag, `policies` tell what follows a lost run. `deliver` is given the
        entries that have an outcome, `resume` those whose files are to be stored before, `follow_up` the
        runs that were told without them.
        """
        self._settle_s = settle_s
        self._policies = policies
        self._kind = kind
        self._runs = runs
        self._journal = journal
        self._clock = clock
        self._deliver = deliver
        self._resume = resume
        self._follow_up = follow_up

    async def run(self) -> None:
        """Recover every open entry; returns when each one is closed, kept, or on its way."""
        for entry in list(self._journal.entries.values()):
            if entry.terminal is not None and entry.waits_for_files and "fenced" not in entry.marks:
                self._follow_up(entry.run_id)
            if not KEPT.isdisjoint(entry.marks):
                continue
            try:
                await self._recover(entry)
            except ApiError as error:  # one entry must not keep the agent from its work
                hint = "it stays in the journal until the next start"
                log.error("recovery.failed", run_id=entry.run_id, error=str(error), hint=hint)

    async def _recover(self, entry: Entry) -> None:
        if entry.ended is not None:
            log.info("recovery.files", run_id=entry.run_id, files=len(entry.files))
            self._resume(entry)
            return
        if entry.terminal is not None:
            if DELIVERED_MARK not in entry.marks:
                await self._hand_over(entry)
            elif not entry.waits_for_files:
                await self._journal.close_entry(entry.run_id)
            return
        if self._kind.elects and "elected" not in entry.marks:
            await self._end_election(entry)
            return
        run = await self._runs.look(entry.run_id) or await self._repost(entry)
        identity = our_identity(entry, run)
        if run is None or identity is None or (run.id == entry.run_id and run.raw.get("stoppedAt")):
            await self._journal.close_entry(entry.run_id)
        elif run.id != entry.run_id:  # the server gives ids of its own, and we died before we knew
            await self._end_election(entry)
        else:
            await self._end_lost(entry, identity, run)

    async def _hand_over(self, entry: Entry) -> None:
        """Have an outcome delivered; where its run shows another's identity it stays, for a person."""
        run = await self._runs.look(entry.run_id)
        if run is None or our_identity(entry, run) is not None:  # whether it is gone, the delivery finds out
            log.info("recovery.outcome", run_id=entry.run_id)
            self._deliver(entry)
        else:
            hint = "the run is not ours any more; `millhand journal` shows and exports its result"
            log.error("recovery.result_kept", run_id=entry.run_id, hint=hint)
            await self._journal.mark(entry.run_id, "fenced")

    async def _end_election(self, entry: Entry) -> None:
        """Finish an election that was under way: a lost one is closed, a won one is requeued."""
        identity = Identity(entry.pod_id, must_be_instant(entry.started_at))
        await asyncio.sleep(self._settle_s)  # what was posted last must be seen
        runs = await self._runs.list_all(entry.task_id, entry.job_id)
        overwrites = self._kind is ServerKind.OVERWRITES
        election = rule_election(runs, identity, entry.task_id, overwrites=overwrites)
        for double in election.doubles:
            await self._runs.close_lost(double.id, identity, "one claim that lost answers made several of")
        if election.run is None:
            await self._end_unlisted(entry, runs)
        elif election.verdict is Verdict.WON:
            await self._end_won(entry, election.run, identity)
        else:
            await self._runs.close_lost(election.run.id, identity, "another run of the task was earlier")
            await self._journal.close_entry(entry.run_id)

    async def _end_unlisted(self, entry: Entry, known: Sequence[Run]) -> None:
        """End a run that no election counts: never posted, or posted before the kind of server was known.

        Where the task has nothing but claims that were given up, nobody would take it: it is requeued.
        """
        listed = next((run for run in known if run.id == entry.run_id), None)
        run = listed or await self._runs.look(entry.run_id)  # which an ingress may deny
        identity = our_identity(entry, run)
        if run is not None and identity is not None and run.is_live:
            if all(other.id == run.id or other.error_kind == "lost_claim" for other in known):
                await self._end_lost(entry, identity, run)
                return
            await self._runs.close_lost(run.id, identity, "the server replaces runs that have the same id")
        await self._journal.close_entry(entry.run_id)

    async def _end_won(self, entry: Entry, run: Run, identity: Identity) -> None:
        """Requeue a task whose election we had won, by the id that its run has on the server."""
        known = structs.replace(entry, run_id=run.id)
        if run.id != entry.run_id:
            await self._journal.intent(known)
            await self._journal.close_entry(entry.run_id)
        await self._journal.mark(run.id, "elected")
        await self._end_lost(known, identity, run)

    async def _repost(self, entry: Entry) -> Run | None:
        """Post an intent again whose request may still be on its way, so that it can be closed for good.

        Raises: Rejected where only a proxy answers.
        """
        if not entry.intent:
            return None
        backoff = self._runs.backoff(PATIENT)
        refusals = 0
        while True:
            try:
                return await self._runs.create(entry.intent)
            except (*DENIED, Unknown) as error:
                await backoff.sleep(error)
            except Rejected as error:
                if (run := await self._runs.look(entry.run_id)) is not None or is_race_lost(error):
                    return run
                refusals += 1  # it may be there all the same, and not shown yet
                if refusals > REFUSALS_MAX:
                    if error.is_documented:
                        return None
                    raise
                await backoff.sleep(error)

    async def _end_lost(self, entry: Entry, identity: Identity, run: Run) -> None:
        """Say that the run died with its agent, with the bill that is known; requeue its task, up to a bound.

        A checkpoint that it told on its way stands in its end too: results are replaced by it.
        """
        usage = last_bill(entry.usage, read_details(run.results.get("usage")))
        error = RunError(
            kind=ErrorKind.WORKER_LOST, message="the agent ended while the run was going", retryable=True
        )
        checkpoint = run.results.get("checkpoint")
        outcome = Outcome(code=ResultCode.FAILED, error=error, usage=usage, checkpoint=checkpoint)
        verdict = await self._verdict(entry, run, error)
        report = terminal_report(outcome, identity, self._clock.now(), 0.0, retry=verdict)
        report.pop("progress", None)  # the last one that was reported stands
        is_again = verdict is None or verdict.is_again
        log.warning("recovery.run_lost", run_id=entry.run_id, task_id=entry.task_id, requeues=is_again)
        try:
            await self._journal.terminal(entry.run_id, report, requeue=is_again)
        except JournalError as failure:  # it is kept in memory, and told from there
            log.error(
                "journal.refused", error=str(failure), hint="free the disk; nothing is claimed until then"
            )
        self._deliver(self._journal.entries[entry.run_id])

    async def _verdict(self, entry: Entry, run: Run, error: RunError) -> retries.Verdict | None:
        """Decide whether the task goes on: one that ends its agents must not do so for ever.

        None where the server does not list its runs: then it goes on.
        """
        try:
            runs = await self._runs.list_all(entry.task_id, entry.job_id)
            task = await self._runs.task_of(entry)
        except ApiError as refusal:
            log.warning("recovery.runs_not_counted", run_id=entry.run_id, error=str(refusal))
            return None
        known = [one for one in runs if one.id != run.id]
        return self._policies.verdict(task, run.id, error, known, attempts_before(known) + 1)


def last_bill(noted: Usage | None, told: Usage | None) -> Usage:
    """Return the later of what the journal and the server know of a lost run: its counters only grow."""
    known = [usage for usage in (told, noted) if usage is not None]
    if not known:
        return unmeasured("the agent was lost before it noted anything")
    return structs.replace(max(known, key=lambda usage: usage.wall_s or 0.0), complete=False)


def must_be_instant(text: str) -> datetime:
    """Read a time that we wrote ourselves."""
    if (at := parse_instant(text)) is None:
        raise ValueError(f"the journal holds {text!r} where a time belongs")
    return at
