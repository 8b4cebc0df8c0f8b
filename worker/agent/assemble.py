"""The one place that wires the agent; every part that touches the world is passed in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from worker.agent.attempt import Attempts
from worker.agent.claim import Claimer
from worker.agent.deferrals import Deferrals
from worker.agent.drain import Drain
from worker.agent.election import Elections
from worker.agent.ending import Endings
from worker.agent.free_space import FreeSpace
from worker.agent.gpus.pool import Gpus
from worker.agent.holds import Holds, Watch
from worker.agent.identity import Identities
from worker.agent.job_states import JobStates
from worker.agent.operators.activity import Activity
from worker.agent.operators.survey import Survey
from worker.agent.outbox import Outbox
from worker.agent.places import STREAK, Places
from worker.agent.policies import Policies
from worker.agent.poller import Poller
from worker.agent.recovery import Recovery
from worker.agent.reporters import Reporters, ReportTimes
from worker.agent.server_kind import ServerKind
from worker.agent.storing import Storing
from worker.agent.supervisor import TASKS, Supervisor
from worker.agent.turns import PATIENCE_S, Turns
from worker.agent.undelivered import undelivered
from worker.agent.uploads import Uploads
from worker.agent.wire_run import RunWire
from worker.api.client import JobsApi
from worker.api.retry import Retrier
from worker.api.wire import parse_instant
from worker.clock import Clock
from worker.config import AgentConfig
from worker.executor.executor import Executor
from worker.reporting.delivery import Delivery
from worker.reporting.journal import Journal
from worker.storage.spool import Spool
from worker.storage.store import Store

__all__ = ["Agent", "Parts", "assemble"]


class Parts(Struct, frozen=True, kw_only=True):
    """What an agent is made of: on a real machine, or in a simulation."""

    clock: Clock
    random: Random
    poll_api: JobsApi  # connections of their own for each purpose, so that none starves another
    claim_api: JobsApi
    report_api: JobsApi
    executor: Executor
    journal: Journal
    spool: Spool
    store: Store
    pod_id: str  # the identity: <pod uid or host>/<agent id>
    types: Collection[str]  # that have a handler here
    facts: Callable[[], Mapping[str, Any]]  # the machine's fields of a claim
    machine: Callable[[], Mapping[str, Any]]  # the same for reports, with `machine`: all facts, with sources
    gpus: Gpus  # that are free, and what the machine lacks for a task
    kind: ServerKind
    on_kind: Callable[[ServerKind], None]
    space: FreeSpace  # on the disks that the agent fills
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of the handlers, by type
    lacks: Callable[[str], tuple[str, ...]] = lambda _: ()  # what a type's handler asks for and is not here
    watches: Sequence[Watch] = ()  # what else is watched while it works
    standing: Mapping[str, Callable[[], bool]] = field(default_factory=dict)  # what may be stuck beside it
    version: str = "not installed"  # of millhand
    streak: int = STREAK  # short runs in a row, before claims go ahead of free slots
    not_ending: Callable[[], int] = lambda: 0  # trees of processes that were killed, and are still there


class Agent(Struct, frozen=True):
    """An agent that is ready to work."""

    supervisor: Supervisor
    recovery: Recovery
    drain: Drain
    survey: Survey

    async def run(self) -> int:
        """Work until drained; returns the exit code."""
        return await self.supervisor.run(self.recovery)


def assemble(parts: Parts, config: AgentConfig) -> Agent:
    """Wire an agent."""
    activity, holds, deferrals = Activity(parts.clock), Holds(), Deferrals(parts.clock)
    drain = Drain(parts.clock, config.drain_timeout_s)
    turns = Turns(parts.clock, PATIENCE_S + config.api.request_timeout_s, parts.standing)
    for api in (parts.claim_api, parts.report_api):
        api.end_with(drain)
    retrier = Retrier(parts.random, parts.clock, end=drain, reach=parts.report_api.traits.reach)
    jobs = JobStates(parts.claim_api, parts.clock, config.job_interval_s, turns)
    delivery = Delivery(
        parts.report_api,
        parts.journal,
        retrier,
        new_id=lambda: random_id(parts.random),
        lag_s=config.settle_s,
        kept_at=f"{config.state_dir / 'journal'} (see `millhand journal`)",
        on_deferred=deferrals.note,
    )
    runs = RunWire(parts.claim_api, retrier, parts.clock, parts.random, parts.facts)
    outbox = Outbox(delivery)
    poller = poller_of(parts, config, jobs, activity, deferrals, turns=turns)

    def took(took_s: float) -> None:
        drain.answered(took_s)
        activity.reported()

    reporters = reporters_of(parts, config, runs, jobs, took, turns=turns)
    uploads = Uploads(store=parts.store, spool=parts.spool, journal=parts.journal, random=parts.random)
    storing = Storing(
        uploads, spool=parts.spool, journal=parts.journal, jobs=jobs, drain=drain, deliver=outbox.send
    )

    def settled(task_id: str, is_won: bool) -> None:
        if not is_won and deferrals.is_waiting(task_id):
            return  # nobody has won it; others may be tried at once
        poller.settle(task_id, is_won=is_won)
        activity.claimed(is_won)

    policies = Policies(parts.options, config.max_attempts)
    endings = Endings(
        journal=parts.journal,
        spool=parts.spool,
        uploads=uploads,
        clock=parts.clock,
        policies=policies,
        on_ended=outbox.send,
        on_held=storing.hold,
    )
    places = Places(
        config.concurrency,
        parts.clock,
        may=lambda: config.claim_ahead == "auto" and parts.claim_api.traits.claims_unique,
        streak=parts.streak,
    )
    attempts = Attempts(
        claimer=claimer_of(parts, config, runs, deferrals),
        executor=parts.executor,
        api=parts.report_api,
        journal=parts.journal,
        jobs=jobs,
        drain=drain,
        holds=holds,
        clock=parts.clock,
        reporters=reporters,
        endings=endings,
        gpus=parts.gpus,
        activity=activity,
        places=places,
        on_settled=settled,
    )
    supervisor = Supervisor(
        poller=poller,
        attempts=attempts,
        executor=parts.executor,
        outbox=outbox,
        storing=storing,
        space=parts.space,
        gpus=parts.gpus,
        journal=parts.journal,
        jobs=jobs,
        drain=drain,
        holds=holds,
        watches=parts.watches,
        turns=turns,
        slots=config.concurrency,
        places=places,
        exit_when_idle=config.exit_when_idle,
    )
    recovery = Recovery(
        runs,
        parts.journal,
        parts.clock,
        kind=parts.kind,
        settle_s=config.settle_s,
        policies=policies,
        deliver=outbox.send,
        resume=lambda entry: storing.hold(reporters.resume(entry)),
        follow_up=storing.follow_up,
    )
    survey = Survey(
        clock=parts.clock,
        pod_id=parts.pod_id,
        version=parts.version,
        slots=config.concurrency,
        activity=activity,
        supervisor=supervisor,
        poller=poller,
        outbox=outbox,
        storing=storing,
        space=parts.space,
        holds=holds,
        journal=parts.journal,
        drain=drain,
        gpus=parts.gpus,
        turns=turns,
        not_ending=parts.not_ending,
    )
    return Agent(supervisor, recovery, drain, survey)


def reporters_of(
    parts: Parts,
    config: AgentConfig,
    runs: RunWire,
    jobs: JobStates,
    on_took: Callable[[float], None],
    *,
    turns: Turns,
) -> Reporters:
    """Return what reports on runs."""
    times = ReportTimes(
        report_interval_s=config.report_interval_s, heartbeat_s=config.heartbeat_s, lag_s=config.settle_s
    )
    return Reporters(
        api=parts.report_api,
        runs=runs,
        clock=parts.clock,
        times=times,
        machine=parts.machine,
        jobs=jobs,
        on_took=on_took,
        turns=turns,
    )


def claimer_of(parts: Parts, config: AgentConfig, runs: RunWire, deferrals: Deferrals) -> Claimer:
    """Return what claims; its identities go on after the last one that the journal knows."""
    used = [at for entry in parts.journal.entries.values() if (at := parse_instant(entry.started_at))]
    identities = Identities(parts.pod_id, parts.clock, not_before=max(used, default=None))
    elections = Elections(
        runs,
        parts.journal,
        identities,
        new_id=lambda: random_id(parts.random),
        settle_s=config.settle_s,
    )
    return Claimer(
        runs, parts.journal, identities, elections, deferrals, kind=parts.kind, on_kind=parts.on_kind
    )


def poller_of(
    parts: Parts,
    config: AgentConfig,
    jobs: JobStates,
    activity: Activity,
    deferrals: Deferrals,
    *,
    turns: Turns,
) -> Poller:
    """Return what finds tasks; an agent that ends when idle does not let the server hold its polls."""
    return Poller(
        parts.poll_api,
        parts.clock,
        parts.random,
        agent_id=parts.pod_id,
        types=parts.types,
        unmet=lambda task: (
            *parts.lacks(task.type or ""),
            *parts.gpus.unmet(task),
            *jobs.unmet(task),
            *undelivered(task, parts.journal),
        ),
        poll_interval_s=config.poll_interval_s,
        poll_max_s=config.poll_max_s,
        long_poll_s=0.0 if config.exit_when_idle else config.long_poll_s,
        deferrals=deferrals,
        type_limits=type_limits(parts.options, config.type_concurrency),
        on_poll=activity.polled,
        on_step=partial(turns.note, TASKS),
    )


def type_limits(options: Mapping[str, Mapping[str, Any]], configured: Mapping[str, int]) -> dict[str, int]:
    """Return how many runs of a type may go on at once, where that is limited; the operator knows best."""
    said = {type_: given["concurrency"] for type_, given in options.items() if given.get("concurrency")}
    return {**said, **configured}


def random_id(random: Random) -> str:
    """Return a random UUID from the randomness that was passed in."""
    return str(UUID(int=random.getrandbits(128), version=4))
