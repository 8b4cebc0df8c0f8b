"""Claim a task: create the run that says it is ours, and know whether it is.

A claim is never believed on a guess: a request without an answer is repeated until the server
tells what became of it, and the intent stays in the journal until then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import structlog
from msgspec import Struct, field

from worker.agent.claim_rules import (
    Taken,
    attempts_before,
    checkpoint_of,
    is_race_lost,
    open_placeholders,
    rule_taken,
)
from worker.agent.deferrals import Deferrals
from worker.agent.election import Elections
from worker.agent.identity import Identities
from worker.agent.probe import is_first_kept
from worker.agent.server_kind import ServerKind
from worker.agent.wire_run import DENIED, RunWire
from worker.api.errors import Rejected, Unknown
from worker.api.ids import claim_run_id
from worker.api.models import Identity, Run, Task
from worker.api.retry import PATIENT
from worker.reporting.journal import Journal

__all__ = ["Claim", "Claimer", "Claiming"]

REFUSALS_MAX = 20  # of a body, after a try that was not answered, until they are believed: minutes
log = structlog.get_logger()


class Claim(Struct, frozen=True, kw_only=True):
    """A task that is ours: nobody else executes it."""

    task: Task
    run: Run
    identity: Identity
    attempt: int = 1  # this one, counted from 1
    resume: Any = None  # the checkpoint of an earlier run
    is_elected: bool = False  # the outcome must be checked to be what the task shows
    known: tuple[Run, ...] = field(default=())  # the task's earlier runs, where they were listed
    since_mono: float | None = None  # from when on its lease counts, if not from when it was asked for


class Claiming(Protocol):
    """What claims tasks."""

    async def claim(self, task: Task) -> Claim | None:
        """Return the claim, or None where the task is left.

        Raises: JournalError where the intent cannot be written; the errors of `worker.api.errors`.
        """
        ...


class Claimer:
    """Claim tasks by the ids that every agent computes alike, or by election where a server ignores ids."""

    def __init__(
        self,
        runs: RunWire,
        journal: Journal,
        identities: Identities,
        elections: Elections,
        deferrals: Deferrals,
        *,
        kind: ServerKind,
        on_kind: Callable[[ServerKind], None],
    ) -> None:
        """Start with what is known of the server; `on_kind` is told what is found out."""
        self._runs = runs
        self._journal = journal
        self._identities = identities
        self._elections = elections
        self._deferrals = deferrals
        self._on_kind = on_kind
        self._kind = kind

    @property
    def kind(self) -> ServerKind:
        """What the server does with ids that it knows; its own word counts most."""
        if self._kind is ServerKind.UNKNOWN and self._runs.traits.claims_unique:
            self._find(ServerKind.KEY)
        return self._kind

    async def claim(self, task: Task) -> Claim | None:
        """Return the claim, or None where the task is left to others, or to a later time.

        Raises: JournalFull where the intent cannot be written: nothing may be claimed then.
        """
        known: Sequence[Run] = ()
        run_id = claim_run_id(task.id)
        if self.kind is not ServerKind.KEY and not await self._seems_due(task):
            return None
        for _ in range(2):  # as a task never run; then, where that id is used up, by its placeholder
            if self.kind.elects:
                return await self._elect(task)
            claim = await self._take(task, run_id, known)
            if claim is not Taken.ENDED:
                return claim
            known = await self._runs.list_all(task.id, task.job_id)
            if not (placeholders := open_placeholders(known)) or not self._is_due(task, known):
                return None
            run_id = claim_run_id(task.id, placeholders[-1].id)
        return None

    def _is_due(self, task: Task, known: Sequence[Run]) -> bool:
        """Tell whether no wait keeps a task from its next attempt; what is left of one is remembered."""
        is_kept = self._kind is not ServerKind.IGNORES
        if self._kind is ServerKind.UNKNOWN:  # a task that was claimed where ids are kept shows it
            is_kept = any(run.id == claim_run_id(task.id) for run in known)
        placeholders, now = open_placeholders(known), self._runs.traits.date
        return self._deferrals.is_due(task.id, known, placeholders, now, keeps_ids=is_kept)

    async def _seems_due(self, task: Task) -> bool:
        """Look before there may be an election: what is given up then is the most recent run of its task."""
        try:
            return self._is_due(task, await self._runs.list_all(task.id, task.job_id))
        except Rejected:
            if self.kind.elects:
                raise
            return True  # claims by ids need no list

    async def _take(
        self, task: Task, run_id: str, known: Sequence[Run]
    ) -> Claim | Literal[Taken.ENDED] | None:
        """Try to create one run; `Taken.ENDED` where its id is used up."""
        entry = self._journal.entries.get(run_id)
        if entry is not None:  # of another attempt here; it must not be written over
            return Taken.ENDED if entry.has_outcome else None
        identity = self._identities.next()
        body = self._runs.claim_body(task, run_id, identity)
        await self._journal.intent(self._runs.entry(task, run_id, identity, body))
        try:
            answer = await self._settle(task, run_id, identity, body)
        except Rejected:  # nothing of it can still be on its way
            await self._journal.close_entry(run_id)
            raise
        if not isinstance(answer, Run):
            await self._journal.close_entry(run_id)
            return answer
        if answer.id != run_id:
            self._find(ServerKind.IGNORES)
            return await self._elect(task, adopted=(run_id, answer, identity))
        if self.kind is not ServerKind.KEY:
            owner = await self._probe(answer, identity, body)
            if owner is not None:
                return await self._elect_instead(task, answer, owner)
        if not known:  # as nearly all: never run
            return Claim(task=task, run=answer, identity=identity)
        await self._runs.close_placeholders(open_placeholders(known), answer.id)
        return Claim(
            task=task,
            run=answer,
            identity=identity,
            attempt=attempts_before(known) + 1,
            resume=checkpoint_of(known),
            known=tuple(known),
        )

    async def _settle(
        self, task: Task, run_id: str, identity: Identity, body: dict[str, Any]
    ) -> Run | Literal[Taken.ENDED] | None:
        """Post until it is known what became of it.

        Returns our run; `Taken.ENDED` where the id is used up; None where the task is left.
        """
        if self.kind is ServerKind.UNKNOWN and (run := await self._runs.look(run_id)) is not None:
            return self._taken(run, identity)
        backoff = self._runs.backoff(PATIENT)
        is_uncertain, refusals = False, 0  # an earlier POST may have been done
        while True:
            try:
                run = await self._runs.create(body)
            except Unknown as error:
                is_uncertain = True
                log.warning("claim.unanswered", task_id=task.id, run_id=run_id, error=str(error))
                await backoff.sleep(error)
                if (found := await self._look_again(run_id)) is not None:
                    return self._taken(found, identity)
            except DENIED as error:
                if not is_uncertain:
                    log.warning("claim.denied", task_id=task.id, error=str(error))
                    raise
                await backoff.sleep(error)
            except Rejected as error:
                refusals += 1
                if not is_uncertain or is_race_lost(error) or refusals > REFUSALS_MAX:
                    return await self._after_refusal(task, run_id, identity, error)
                if (found := await self._look_again(run_id)) is not None:
                    return self._taken(found, identity)
                await backoff.sleep(error)  # it may be there, and not shown yet
            else:
                if run.id != run_id:
                    return run if identity.owns(run) else None
                return self._taken(run, identity)

    async def _look_again(self, run_id: str) -> Run | None:
        """Read the run of a try that was not answered; a refused look says nothing of what was done."""
        try:
            return await self._runs.look(run_id)
        except Rejected as error:
            log.warning("claim.unseen", run_id=run_id, error=str(error))
            return None

    async def _after_refusal(
        self, task: Task, run_id: str, identity: Identity, error: Rejected
    ) -> Run | Literal[Taken.ENDED] | None:
        """Find out why: the id is taken, the race is lost, or the body is refused."""
        if is_race_lost(error):
            return None
        if (run := await self._runs.look(run_id)) is not None:
            return self._taken(run, identity)
        log.error("claim.refused", task_id=task.id, type=task.type, error=str(error))
        raise error

    def _taken(self, run: Run, identity: Identity) -> Run | Literal[Taken.ENDED] | None:
        taken = rule_taken(run, identity)
        if taken is Taken.OURS:
            return run
        return Taken.ENDED if taken is Taken.ENDED else None

    async def _probe(self, run: Run, identity: Identity, body: dict[str, Any]) -> Identity | None:
        """Post our own run once more under another identity, before anything runs in it.

        Returns None where the server kept the first one: its key decides races. Where it replaced it, or
        another slot has found out meanwhile that it does, the identity that the run has now.
        """
        if self.kind.elects:
            return identity
        probe = self._identities.probe(identity)
        await self._journal.mark(run.id, self._runs.probe_mark(probe))
        if not await is_first_kept(self._runs, identity, {**body, **self._runs.identity_fields(probe)}):
            self._find(ServerKind.OVERWRITES)
            return probe
        if self.kind.elects:
            return identity
        self._find(ServerKind.KEY)
        return None

    async def _elect_instead(self, task: Task, run: Run, owner: Identity) -> Claim | None:
        """Claim by election what was posted under an id that others overwrite.

        That run is closed only then: where a lost claim is all that a task has, nobody takes it.
        """
        backoff = self._runs.backoff(PATIENT)
        claim = None
        for _ in range(REFUSALS_MAX):
            try:
                claim = await self._elect(task)
                break
            except Rejected as error:
                await backoff.sleep(error)
        await self._runs.close_lost(run.id, owner, "the server replaces runs that have the same id")
        await self._journal.close_entry(run.id)
        return claim

    async def _elect(self, task: Task, adopted: tuple[str, Run, Identity] | None = None) -> Claim | None:
        won = await self._elections.claim(task, adopted, overwrites=self._kind is ServerKind.OVERWRITES)
        if won is None:
            return None
        run, identity, known = won
        return Claim(
            task=task,
            run=run,
            identity=identity,
            attempt=attempts_before(known) + 1,
            resume=checkpoint_of(known),
            is_elected=True,
            known=tuple(known),
        )

    def _find(self, kind: ServerKind) -> None:
        if kind is self._kind:
            return
        self._kind = kind
        self._on_kind(kind)
        if kind.elects:
            log.warning(
                "server.claims_by_election",
                kind=str(kind),
                hint="this server does not keep run ids unique; claims take longer, see docs/protocol.md",
            )
        else:
            log.info("server.claims_by_key")
