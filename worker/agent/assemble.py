"""The one place that wires the agent; every part that touches the world is passed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from msgspec import Struct

from worker.agent.attempt import Attempts
from worker.agent.claim import Claimer
from worker.agent.deferrals import Deferrals
from worker.agent.drain import Drain
from worker.agent.election import Elections
from worker.agent.ending import Endings
from worker.agent.holds import Holds
from worker.agent.identity import Identities
from worker.agent.job_states import JobStates
from worker.agent.offers import Offers
from worker.agent.operators.activity import Activity
from worker.agent.operators.survey import Survey
from worker.agent.outbox import Outbox
from worker.agent.parts import Parts
from worker.agent.places import Places
from worker.agent.policies import Policies
from worker.agent.poller import Poller
from worker.agent.recovery import Recovery
from worker.agent.reporters import Reporters, ReportTimes
from worker.agent.storing import Storing
from worker.agent.supervisor import TASKS, Supervisor
from worker.agent.turns import PATIENCE_S, Turns
from worker.agent.undelivered import undelivered
from worker.agent.uploads import Uploads
from worker.agent.wire_run import RunWire
from worker.api.models import Task
from worker.api.retry import Retrier
from worker.api.wire import parse_instant
from worker.config import AgentConfig
from worker.reporting.delivery import Delivery

__all__ = ["Agent", "Parts", "assemble"]


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
    identities = identities_of(parts)

    def unmet(task: Task) -> tuple[str, ...]:
        return (
            *parts.lacks(task.type or ""),
            *parts.gpus.unmet(task),
            *jobs.unmet(task),
            *undelivered(task, parts.journal),
        )

    offers = Offers(
        claimer_of(parts, config, runs, deferrals, identities),
        parts.poll_api,
        runs,
        parts.journal,
        identities,
        clock=parts.clock,
        new_id=lambda: random_id(parts.random),
        is_simple=lambda type_: not (parts.lacks(type_) or parts.gpus.are_wanted_by(type_)),
        unmet=unmet,
        deliver=outbox.send,
        is_on=config.offers == "auto" and config.claims != "election",
    )
    poller = poller_of(parts, config, activity, deferrals, unmet=unmet, offers=offers, turns=turns)

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
        claimer=offers,
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
        offers=offers,
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


def identities_of(parts: Parts) -> Identities:
    """Return the identities of claims: they go on after the last one that the journal knows."""
    used = [at for entry in parts.journal.entries.values() if (at := parse_instant(entry.started_at))]
    return Identities(parts.pod_id, parts.clock, not_before=max(used, default=None))


def claimer_of(
    parts: Parts, config: AgentConfig, runs: RunWire, deferrals: Deferrals, identities: Identities
) -> Claimer:
    """Return what claims."""
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
    activity: Activity,
    deferrals: Deferrals,
    *,
    unmet: Callable[[Task], tuple[str, ...]],
    offers: Offers,
    turns: Turns,
) -> Poller:
    """Return what finds tasks; an agent that ends when idle does not let the server hold its polls."""
    return Poller(
        parts.poll_api,
        parts.clock,
        parts.random,
        agent_id=parts.pod_id,
        types=parts.types,
        unmet=unmet,
        offers=offers,
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
