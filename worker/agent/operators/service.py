"""Tell the service manager how the agent stands: ready, at work, held, draining; and that its loops turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from worker.agent.errands import cancel
from worker.agent.operators.status import Status
from worker.agent.operators.survey import Survey
from worker.service_manager import ServiceManager
from worker.stacks import log_stacks

__all__ = ["status_text", "told_to_the_manager"]

STATUS_S: Final = 10.0  # how old what is said may be
DRAIN_S: Final = 1.0  # the same while it ends
AFTER_DRAIN_S: Final = 10.0  # to close what is open, after the drain's own end
QUIET: Final = frozenset({"slots", "types"})  # no fault: all that may run does
log = structlog.get_logger()


@asynccontextmanager
async def told_to_the_manager(manager: ServiceManager, survey: Survey) -> AsyncIterator[None]:
    """Say that the agent is ready, and until the block ends how it stands.

    It is ready once it listens to signals, whether its server answers or not: a server that is away must
    neither fail the start nor have the agent restarted, which would end its runs. The watchdog hears from
    the agent's own event loop, while each loop on it comes round (`worker.agent.turns`): where one stands
    still, so do polls, or the reports and the lease of a run.
    """
    if not manager.is_there:
        yield
        return
    manager.ready(status_text(survey.status()))
    telling = asyncio.create_task(tell(manager, survey), name="service-manager")
    try:
        yield
    finally:
        await cancel(telling)


async def tell(manager: ServiceManager, survey: Survey) -> None:
    """Beat for the watchdog, and say how the agent stands, until cancelled."""
    was_stuck = False
    while True:
        stuck = survey.turns.stuck()
        if manager.beat_s is not None and not stuck:
            manager.beat()
        try:
            say(manager, survey.status())
            if stuck and not was_stuck:
                tell_stuck(stuck)
        except Exception:  # what cannot be said must not silence the watchdog, which would end every run
            log.exception("service.unsaid")
        was_stuck = bool(stuck)
        seconds = DRAIN_S if survey.drain.is_requested else STATUS_S
        await wait(survey, min(manager.beat_s or STATUS_S, seconds))


def tell_stuck(stuck: tuple[str, ...]) -> None:
    """Log which loops are stuck and where, before the watchdog ends the agent."""
    hint = "the lines `stacks.`, or `minder.silent`, say where; a watchdog starts the agent anew"
    log.error("agent.stuck", loops=list(stuck), hint=hint)
    log_stacks(asyncio.get_running_loop())


def say(manager: ServiceManager, status: Status) -> None:
    """Say how the agent stands; while it ends, by when that will be."""
    if status.drain is None:
        manager.status(status_text(status))
    else:
        manager.stopping(status_text(status))
        manager.extend(status.drain.left_s + AFTER_DRAIN_S)


async def wait(survey: Survey, seconds: float) -> None:
    """Wait for the next time to tell; the beginning of a drain is told at once."""
    if survey.drain.is_requested:
        await asyncio.sleep(seconds)
        return
    requested = asyncio.create_task(survey.drain.requested())
    await asyncio.wait({requested}, timeout=seconds)
    await cancel(requested)


def status_text(status: Status) -> str:
    """Say in one line how the agent stands."""
    slots = f"{status.slots.busy} of {status.slots.total} slots busy"
    undelivered = status.journal.undelivered
    journal = f"; {undelivered} outcomes to deliver" if undelivered else ""
    kept = status.journal.for_a_person
    waiting = f"; {kept} for a person (millhand journal)" if kept else ""
    return f"{doing(status)}; {slots}{journal}{waiting}"


def doing(status: Status) -> str:
    """Say what it does, or why it claims nothing."""
    if status.drain is not None:
        return f"draining ({status.drain.message}), {status.drain.left_s:.0f} s left"
    if status.stuck:
        return f"stuck: {', '.join(status.stuck)}"
    if failed := status.server.polls_failed:
        return f"the server does not answer ({failed} polls failed)"
    reasons = [hold for hold in status.holds if hold.by not in QUIET]
    if reasons:
        return "claims nothing: " + ", ".join(f"{hold.by} ({hold.reason})" for hold in reasons)
    return "all busy" if status.holds else "waiting for tasks" if not status.runs else "working"
