"""The machines of an organisation: what their agents say of themselves, and what runs show of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from server.dashboard.runs import state_of
from server.dashboard.shapes import dict_of, list_of, number_of, object_of, text_of
from server.store.records import AgentRecord, RunRecord
from server.store.usage import LONGEST_NAME, Span, is_own_fault
from server.times import from_ms, to_ms
from worker.api.wire import format_instant, parse_instant
from worker.cli import human

__all__ = ["MOST_FREE", "Handler", "Machine", "fleet_of", "handlers_of", "machines_of"]

SILENT_AFTER: Final = timedelta(seconds=150)  # an agent speaks once a minute
MOST_SLOTS: Final = 1024  # of an agent; one that tells of more tells nonsense
MOST_FREE: Final = 32  # free slots of an agent that are shown one by one


class Gpu(Struct, frozen=True):
    """A GPU, as its agent tells."""

    name: str
    condition: str
    reason: str | None
    left_s: float | None = None  # until it comes out of quarantine


class Notice(Struct, frozen=True):
    """An agent ends soon, or its machine does."""

    is_preempted: bool
    text: str
    deadline: str | None  # instant


class Machine(Struct, kw_only=True):
    """An agent and its machine."""

    name: str
    last_seen: str  # instant
    about: str = "–"  # type and zone
    is_spot: bool = False
    is_silent: bool = False  # it has spoken before, and has not for long
    slots: int | None = None
    gpus: list[Gpu] = []
    reasons: list[str] = []  # why it takes nothing
    notice: Notice | None = None
    types: list[str] = []
    version: str | None = None
    started_at: int | None = None  # milliseconds since 1970
    live: list[Span] = []
    runs: int = 0  # of the newest ones
    failed: int = 0  # of those, by their own fault

    @property
    def free(self) -> int:
        """How many slots have no run."""
        return max(0, (self.slots or 0) - len(self.live))

    @property
    def ails(self) -> bool:
        """Tell whether somebody should look: it ends, takes nothing, or has a GPU that is not fit."""
        return bool(self.notice or self.reasons or any(gpu.condition not in ("", "fit") for gpu in self.gpus))


class Handler(Struct, kw_only=True):
    """A task type that some agent takes."""

    type: str
    summary: str
    schema: dict[str, Any] | None
    agents: int = 0


def machines_of(
    agents: Iterable[AgentRecord], runs: Iterable[RunRecord], live: Iterable[Span], now: datetime
) -> list[Machine]:
    """Return all machines; those that have something to say first, then by name.

    Args:
        agents: what they said of themselves.
        runs: recent ones, of which their machines are known; one that comes twice counts once.
        live: all that run now.
        now: the time by the server's clock.
    """
    machines = {machine.name: machine for machine in (announced(agent, now) for agent in agents)}
    for run in {run.id: run for run in runs}.values():
        if run.pod_id is not None and run.started_at is not None:
            name = run.pod_id[:LONGEST_NAME]
            add(machines.setdefault(name, Machine(name=name, last_seen=run.updated_at)), run)
    for span in live:
        if span.pod_id is not None:
            heard_at = format_instant(from_ms(span.heard_at))
            machine = machines.setdefault(span.pod_id, Machine(name=span.pod_id, last_seen=heard_at))
            machine.last_seen = max(machine.last_seen, heard_at)
            machine.live.append(span)
    for machine in machines.values():
        seen = parse_instant(machine.last_seen)
        machine.is_silent = machine.slots is not None and seen is not None and now - seen > SILENT_AFTER
    return sorted(
        machines.values(), key=lambda one: (not one.is_silent, not one.ails, not one.live, one.name)
    )


def announced(agent: AgentRecord, now: datetime) -> Machine:
    """Return a machine as its agent tells; what is told in another shape is left out."""
    status, machine, handlers = map(object_of, (agent.status, agent.machine, agent.handlers))
    holds = [dict_of(hold) for hold in list_of(status.get("holds"))]
    started, seen = parse_instant(status.get("started")), parse_instant(agent.seen_at)
    return Machine(
        name=(text_of(status.get("podId")) or agent.id)[:LONGEST_NAME],
        last_seen=agent.seen_at,
        about=about(machine.get("machineType"), machine.get("zone")),
        is_spot=machine.get("preemptible") is True,
        slots=slots_of(dict_of(status.get("slots")).get("total")),
        gpus=[gpu_of(dict_of(gpu), seen, now) for gpu in list_of(status.get("gpus"))],
        notice=notice_of(status.get("drain")),
        started_at=to_ms(started) if started is not None else None,
        reasons=[why for hold in holds if hold.get("by") != "slots" and (why := text_of(hold.get("reason")))],
        types=sorted(handlers),
        version=text_of(status.get("version")),
    )


def slots_of(total: object) -> int | None:
    """Return how many slots an agent has; what no agent can have is unknown."""
    if not isinstance(total, int) or isinstance(total, bool):
        return None
    return total if 0 <= total <= MOST_SLOTS else None


def gpu_of(said: dict[str, Any], seen: datetime | None, now: datetime) -> Gpu:
    """Return a GPU; its quarantine goes on since its agent told of it."""
    name, condition = text_of(said.get("name")) or "GPU", text_of(said.get("condition")) or "unknown"
    left_s = number_of(said.get("quarantineLeftS"))
    if left_s is not None and seen is not None:
        left_s = max(0.0, left_s - max(0.0, (now - seen).total_seconds()))
    return Gpu(name, condition, text_of(said.get("reason")), left_s)


def notice_of(drain: object) -> Notice | None:
    """Return what an agent says of its end; None where it goes on."""
    said = dict_of(drain)
    if not said:
        return None
    text = text_of(said.get("message")) or "it is told to stop"
    return Notice(said.get("kind") == "preempted", text, text_of(said.get("deadline")))


def about(machine_type: object, zone: object) -> str:
    """Return what a machine is, in a few words."""
    return ", ".join(text for text in (text_of(machine_type), text_of(zone)) if text) or human.DASH


def add(machine: Machine, run: RunRecord) -> None:
    """Take what a run shows of its machine."""
    machine.runs += 1
    machine.failed += state_of(run) == "failed" and is_own_fault(run.error or "")
    machine.last_seen = max(machine.last_seen, run.updated_at)
    machine.is_spot = machine.is_spot or run.preemptible is True
    if machine.about == human.DASH:
        machine.about = about(run.machine_type, run.zone)
    if not machine.gpus and run.gpu_type:
        machine.gpus = [Gpu(run.gpu_type, "", None)]


class Fleet(Struct, frozen=True, kw_only=True):
    """The machines in numbers."""

    machines: int
    silent: int
    ending: int  # that stop, or are taken away
    held: int  # that take nothing, and say why
    slots: int  # of those that are heard of
    busy: int
    gpus: int
    unfit: int


def fleet_of(machines: Sequence[Machine]) -> Fleet:
    """Count machines and what is on them; what silent ones said does not count any more."""
    heard = [machine for machine in machines if not machine.is_silent]
    gpus = [gpu for machine in heard for gpu in machine.gpus]
    return Fleet(
        machines=len(machines),
        silent=len(machines) - len(heard),
        ending=sum(machine.notice is not None for machine in heard),
        held=sum(bool(machine.reasons) and machine.notice is None for machine in heard),
        slots=sum(machine.slots or 0 for machine in heard),
        busy=sum(len(machine.live) for machine in heard if machine.slots is not None),
        gpus=len(gpus),
        unfit=sum(gpu.condition not in ("", "fit") for gpu in gpus),
    )


def handlers_of(agents: Iterable[AgentRecord], now: datetime) -> list[Handler]:
    """Return the task types that agents take, by name; those that are silent do not count."""
    found: dict[str, Handler] = {}
    for agent in agents:
        seen = parse_instant(agent.seen_at)
        if seen is None or now - seen > SILENT_AFTER:
            continue
        for type_, told in object_of(agent.handlers).items():
            said = dict_of(told)
            schema = said.get("parameters")
            handler = found.setdefault(
                type_, Handler(type=type_, summary=text_of(said.get("summary")) or "", schema=None)
            )
            handler.agents += 1
            handler.schema = handler.schema or (schema if isinstance(schema, dict) else None)
    return [found[type_] for type_ in sorted(found)]
