"""Claims on servers that ignore or overwrite run ids: the earliest live run of the list wins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from worker.agent.claim_rules import Election, Verdict, ours_among, rule_election
from worker.agent.identity import Identities
from worker.agent.wire_run import DENIED, RunWire
from worker.api.errors import Rejected, Unknown
from worker.api.models import Identity, Run, Task
from worker.api.retry import PATIENT
from worker.reporting.journal import Journal

__all__ = ["Elections"]

UNSEEN_MAX = 20  # looks at a list that does not show our run before the run itself is asked for
log = structlog.get_logger()


class Elections:
    """Post a run with a random id, wait until every list shows it, and see whose is the earliest."""

    def __init__(
        self,
        runs: RunWire,
        journal: Journal,
        identities: Identities,
        new_id: Callable[[], str],
        settle_s: float,
    ) -> None:
        """`settle_s` is how long the server's lists may lag behind its writes."""
        self._runs = runs
        self._journal = journal
        self._identities = identities
        self._new_id = new_id
        self._settle_s = settle_s + 0.001  # the reach of a list, and the resolution of its times

    async def claim(
        self, task: Task, adopted: tuple[str, Run, Identity] | None, *, overwrites: bool
    ) -> tuple[Run, Identity, Sequence[Run]] | None:
        """Return the winning run, its identity and the task's runs; None where somebody else won.

        `adopted` is a run that the server made of a claim under another id (with the id that was
        asked for, under which the journal knows it).
        """
        run_id, identity = await self._adopt(task, adopted) if adopted else await self._post(task, overwrites)
        try:
            election, runs = await self._decide(task, run_id, identity, overwrites)
        except Rejected:  # who is the first cannot be told: nobody may execute it
            await self._runs.close_lost(run_id, identity, "the task's runs cannot be listed")
            await self._journal.close_entry(run_id)
            raise
        for double in election.doubles:
            await self._runs.close_lost(double.id, identity, "one claim that lost answers made several of")
        run = election.run
        if run is None or election.verdict is not Verdict.WON:
            await self._runs.close_lost(
                run.id if run else run_id, identity, "another run of the task was earlier"
            )
            await self._journal.close_entry(run_id)
            return None
        if run.id != run_id:
            await self._rename(task, run_id, run, identity)
        await self._runs.close_placeholders(election.placeholders, run.id)
        return run, identity, runs

    async def _adopt(self, task: Task, adopted: tuple[str, Run, Identity]) -> tuple[str, Identity]:
        asked_id, run, identity = adopted
        await self._rename(task, asked_id, run, identity)
        return run.id, identity

    async def _rename(self, task: Task, old_id: str, run: Run, identity: Identity) -> None:
        """Let the journal know the run by the id that it has on the server."""
        body = self._runs.claim_body(task, run.id, identity)
        marks = self._journal.entries[old_id].marks
        await self._journal.intent(self._runs.entry(task, run.id, identity, body))
        for mark in marks:
            await self._journal.mark(run.id, mark)
        await self._journal.close_entry(old_id)

    async def _post(self, task: Task, overwrites: bool) -> tuple[str, Identity]:
        """Post our candidate until the server or its list shows it. Raises Rejected where it is refused."""
        run_id, identity = self._new_id(), self._identities.next()
        body = self._runs.claim_body(task, run_id, identity)
        await self._journal.intent(self._runs.entry(task, run_id, identity, body))
        try:
            run = await self._posted(task, body, identity, overwrites)
        except Rejected as error:
            log.warning("claim.refused", task_id=task.id, error=str(error))
            await self._journal.close_entry(run_id)
            raise
        if run.id != run_id:
            await self._rename(task, run_id, run, identity)
        return run.id, identity

    async def _posted(self, task: Task, body: dict[str, Any], identity: Identity, overwrites: bool) -> Run:
        """Post until the server answers, or its list shows our run.

        After a try without an answer a refusal proves nothing: the run may be there, and not shown yet.
        Where runs are replaced, to post one again makes it younger, and each of two agents may see the
        other as the earlier one; so the list is given the time to show it.
        """
        backoff = self._runs.backoff(PATIENT)
        is_uncertain, refusals = False, 0
        while True:
            try:
                return await self._runs.create(body)
            except Unknown as error:
                is_uncertain = True
                await self._journal.mark(body["id"], "doubted")  # it may arrive when all is over
                await backoff.sleep(error)
            except Rejected as error:
                refusals += not isinstance(error, DENIED)
                if not is_uncertain or refusals > UNSEEN_MAX:
                    raise
                await backoff.sleep(error)
            if overwrites:
                await asyncio.sleep(self._settle_s)
            if found := ours_among(await self._runs.list_all(task.id, task.job_id), identity):
                return found[0]

    async def _decide(
        self, task: Task, run_id: str, identity: Identity, overwrites: bool
    ) -> tuple[Election, Sequence[Run]]:
        """Look at the list, again and again while it does not show our run."""
        for _ in range(UNSEEN_MAX):
            await asyncio.sleep(self._settle_s)
            runs = await self._runs.list_all(task.id, task.job_id)
            election = rule_election(runs, identity, task.id, overwrites=overwrites)
            if election.verdict is not Verdict.UNSEEN:
                return election, runs
            run = await self._runs.look(run_id)
            if run is not None and (run.raw.get("stoppedAt") or not identity.owns(run)):
                break  # closed or replaced by somebody
        log.warning("claim.unseen", task_id=task.id, run_id=run_id)
        return Election(Verdict.LOST), ()
