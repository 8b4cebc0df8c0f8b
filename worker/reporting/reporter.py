"""Tell the server how a run goes on, and learn from the answers whether it is still ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property
from typing import Any

import structlog

from worker.api.client import JobsApi
from worker.api.errors import ApiError, Conflict, NotFound, Refused, Unknown
from worker.api.models import Identity, Run
from worker.clock import Clock
from worker.executor.executor import CheckpointEvent, Event
from worker.executor.lease import Lease
from worker.reporting.report import NO_CHECKPOINT, RunState, documented

__all__ = ["BODY_REFUSED", "LATE_S", "Reporter", "Standing", "standing_of"]

REPORTS_PER_LEASE = 4  # so that one that is lost, and one that takes its time, do no harm
CHECKPOINT_BYTES_A_S = 32 * 1024  # a report with a larger checkpoint waits for longer than the interval
LATE_S = 60.0  # how late a request may arrive whose answer nobody waited for
DOUBLINGS_MAX = 10  # of the wait between reports that fail; the heartbeat bounds it anyway
TOO_LARGE = 413
BODY_REFUSED = frozenset({400, TOO_LARGE, 422})  # statuses that are about the body; others come from proxies
log = structlog.get_logger()


class Standing(Enum):
    """What an answer says of our run."""

    OURS = "ours"
    STOPPED = "stopped"
    TAKEN = "taken"  # it is under another's identity


def standing_of(run: Run, identity: Identity) -> Standing:
    """Tell from a run as the server shows it whether it is still ours to execute.

    A server that leaves the identity out of its answers has not given the run to somebody else.
    """
    if run.pod_id is not None and run.started_at is not None and not identity.owns(run):
        return Standing.TAKEN
    return Standing.STOPPED if run.raw.get("stoppedAt") else Standing.OURS


class Reporter:
    """Report one run: at most once in a report interval, at least once in a heartbeat.

    Progress in between is coalesced: only the newest is told.
    """

    def __init__(
        self,
        api: JobsApi,
        clock: Clock,
        run: Run,
        identity: Identity,
        *,
        report_interval_s: float,
        heartbeat_s: float,
        lag_s: float,
        machine: Callable[[], Mapping[str, Any]],
        on_answer: Callable[[Run], None],
        on_lost: Callable[[str], None],
        lease: Lease | None = None,
        on_took: Callable[[float], None] = lambda _: None,
        on_step: Callable[[float | None], None] = lambda _: None,
    ) -> None:
        """`machine` gives what is known now of the machine, by fields of the run; each is told once.

        `on_answer` gets every answer; `on_lost` is called once, when the run is not ours any more;
        `on_took` gets how many seconds each answer took; `on_step`, before each wait, how long that may take,
        a request's own limit left out, and None at the end. The lease is renewed by answers to reports.
        """
        self._lease = lease or Lease()
        self._machine = machine
        self._told: dict[str, Any] = run.raw  # of the machine: by the claim, as its answer shows, and since
        self.state = RunState()
        self.is_lost = False
        self.is_taken = False  # lost, and under another's identity: nothing may be written to it any more
        self._api = api
        self._clock = clock
        self._run_id = run.id
        self._identity = identity
        self._report_interval_s = report_interval_s
        self._heartbeat_s = max(heartbeat_s, report_interval_s)
        self._lag_s = lag_s
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._on_took = on_took
        self._on_step = on_step
        self._is_strict = False  # the server refuses what the reference does not name
        self._refused_bytes: int | None = None  # of a checkpoint with which the server refuses reports
        self._accepted = NO_CHECKPOINT  # the last one that the server has taken
        self._sent = NO_CHECKPOINT  # the one in the last report
        self._held_s = 0.0  # how long the server is left alone: it asked for that, or it fails
        self._failures = 0  # of reports, in a row
        self._late_until_mono = float("-inf")  # so long one that was not answered may still arrive

    # Made when first asked for: most runs are short, and have no report but their outcome.

    @cached_property
    def _news(self) -> asyncio.Event:
        """Set where there is something to tell."""
        return asyncio.Event()

    @cached_property
    def _urgent(self) -> asyncio.Event:
        """Set with news that do not wait for the interval."""
        return asyncio.Event()

    @cached_property
    def _quiet(self) -> asyncio.Event:
        """Set while no report is on its way."""
        quiet = asyncio.Event()
        quiet.set()
        return quiet

    @property
    def untold(self) -> dict[str, Any]:
        """What is known of the machine, and was not told: at first its sources, later what came late."""
        return {name: value for name, value in self._machine().items() if self._told.get(name) != value}

    def note(self, event: Event) -> None:
        """Keep an event of the executor for the next report."""
        before = self.state.version
        self.state.note(event)
        if self.state.version != before:
            self._news.set()

    def tell_stop(self, kind: str, message: str) -> None:
        """Tell at once why the run is asked to stop: what it says later may not come any more."""
        self.state.stopping = {"kind": kind, "message": message}
        self._news.set()
        self._urgent.set()

    @property
    def interval_s(self) -> float:
        """How long nothing is reported now, unless it is urgent."""
        return self._pace()[0]

    async def run(self, waited_s: float = 0.0) -> None:
        """Report until cancelled or until the run is lost. Failing reports wait for the next one.

        `waited_s` is how long ago the claim was answered, or what else told of the run.
        """
        try:
            while not self.is_lost:
                await self._wait(waited_s)
                waited_s = 0.0
                await self._report()
        finally:
            self._on_step(None)

    async def answered(self, limit_s: float) -> bool:
        """Wait until no report is on its way, or until the limit is over; tell whether none may still arrive.

        One that was given up may, for a minute.
        """
        if limit_s > 0.0 and not self._quiet.is_set():
            await wait_for(self._quiet, limit_s)
        return self._quiet.is_set() and self._clock.mono() >= self._late_until_mono

    async def _wait(self, waited_s: float) -> None:
        """Wait for the next report's time; a part of that has passed already."""
        interval_s, heartbeat_s = self._pace()
        held_s = min(self._held_s, heartbeat_s)
        self._on_step(heartbeat_s)
        await asyncio.sleep(held_s)
        passed_s = held_s + waited_s
        await wait_for(self._urgent, interval_s - passed_s)
        await wait_for(self._news, heartbeat_s - max(interval_s, passed_s))
        self._news.clear()
        self._urgent.clear()
        self._on_step(0.0)

    def _pace(self) -> tuple[float, float]:
        """Return report interval and heartbeat; a short lease makes both shorter, so that it never ends."""
        heartbeat_s = self._heartbeat_s
        if (length_s := self._lease.length_s) is not None:
            heartbeat_s = min(heartbeat_s, length_s / REPORTS_PER_LEASE)
        interval_s = self._report_interval_s
        interval_s = max(interval_s, self._checkpoint.size_bytes / CHECKPOINT_BYTES_A_S)
        return min(interval_s, heartbeat_s), heartbeat_s

    @property
    def _checkpoint(self) -> CheckpointEvent:
        """The checkpoint to tell: the newest; where one of its size was refused, the last that was taken."""
        newest = self.state.checkpoint
        if newest.value is None or self._refused_bytes is None or newest.size_bytes < self._refused_bytes:
            return newest
        return self._accepted

    async def _report(self) -> None:
        self._held_s = 0.0
        try:
            untold = self.untold
            sent = self._sent = self._checkpoint
            body = self.state.report(self._identity, untold, checkpoint=sent.value)
            asked_mono = self._clock.mono()
            run = await self._tell(documented(body) if self._is_strict else body)
        except (Conflict, NotFound) as error:
            await self._confirm_loss(error)
        except ApiError as error:
            self._keep(error)
        else:
            self._on_took(self._clock.mono() - asked_mono)
            self._told = {**self._told, **untold}
            self._accepted = sent
            self._failures = 0
            self._weigh(run, asked_mono)

    async def _tell(self, body: dict[str, Any]) -> Run:
        self._quiet.clear()
        try:
            return await self._api.update_run(self._run_id, body)
        finally:
            self._quiet.set()

    def _keep(self, error: ApiError) -> None:
        """Tell what was not told with the next report; a body that stays refused waits for the heartbeat."""
        if self._may_say_less(error):
            self._news.set()
        if isinstance(error, Unknown):
            self._late_until_mono = self._clock.mono() + LATE_S
        self._failures += 1
        doubled_s = self._report_interval_s * 2.0 ** min(self._failures, DOUBLINGS_MAX)
        self._held_s = min(max(error.retry_after_s or 0.0, doubled_s), self._heartbeat_s)
        log.warning("report.failed", run_id=self._run_id, error=str(error))

    def _may_say_less(self, error: ApiError) -> bool:
        """Tell whether another report may be taken; after a refusal it says less, as long as it can."""
        if not isinstance(error, Refused) or error.status not in BODY_REFUSED:
            return True
        if self._sent.value is not None and (self._is_strict or error.status == TOO_LARGE):
            self._refused_bytes = self._sent.size_bytes
            if self._accepted.size_bytes >= self._refused_bytes:
                self._accepted = NO_CHECKPOINT  # it is not taken any more
            hint = "if this machine is lost without notice, the next attempt has an earlier one, or none"
            log.warning("report.checkpoint_refused", run_id=self._run_id, hint=hint)
            return True
        was_strict, self._is_strict = self._is_strict, True
        return not was_strict

    def _weigh(self, run: Run, asked_mono: float) -> None:
        standing = standing_of(run, self._identity)
        if standing is Standing.OURS:
            self._lease.renew(asked_mono, run.lease_s)
            self._on_answer(run)
        else:
            self._lose(f"the server shows the run {standing.value}", standing)

    async def _confirm_loss(self, error: ApiError) -> None:
        """Believe that a run is gone only if the API itself says so, twice, further apart than it lags."""
        if not error.is_documented:
            self._keep(error)
            return
        standing = Standing.STOPPED
        for look in range(2):
            self._on_step(self._lag_s)
            if look:
                await asyncio.sleep(self._lag_s)
            try:
                run = await self._api.get_run(self._run_id)
            except NotFound as missing:
                if not missing.is_documented:
                    return
            except ApiError as fault:
                log.warning("report.failed", run_id=self._run_id, error=str(fault))
                return
            else:
                standing = standing_of(run, self._identity)
                if standing is Standing.OURS:
                    self._on_answer(run)
                    return
        self._lose(str(error), standing)

    def _lose(self, why: str, standing: Standing) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.is_taken = standing is Standing.TAKEN
            log.warning("run.lost", run_id=self._run_id, why=why)
            self._on_lost(why)


async def wait_for(event: asyncio.Event, limit_s: float) -> None:
    """Wait for an event, or until the limit is over."""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
