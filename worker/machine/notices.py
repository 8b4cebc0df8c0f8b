"""Read what the clouds tell of the end of a machine. Pure: answers in, notices out.

What is hidden, late, garbled or strange is a problem, never a notice: a false one would stop good work.

Sources:
    GCE: https://cloud.google.com/compute/docs/instances/create-use-preemptible
        https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice
    AWS: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
    Azure: https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct

from worker.machine.cloud import AWS, AZURE, GCE, flavored, strange, text_of
from worker.machine.metadata import Answer

__all__ = [
    "LEAST_S",
    "Look",
    "Notice",
    "read_azure_events",
    "read_azure_name",
    "read_gce_maintenance",
    "read_gce_preempted",
    "read_rebalance",
    "read_spot_action",
]

# What the clouds promise, in seconds, where an answer tells no time.
GCE_PREEMPTED_S: Final = 30.0
GCE_TERMINATE_S: Final = 60.0
GCE_TERMINATE_GPU_S: Final = 3600.0
AWS_SPOT_S: Final = 120.0  # a time farther away is not believed: a clock is wrong
AZURE_S: Final = 3600.0  # likewise; events are told some minutes ahead
LEAST_S: Final = 5.0  # where the time is over, or a clock is wrong: to kill, to write down, to report once
# What strange JSON and strange times raise: those that are none, and those that no calendar has.
ODD: Final = (msgspec.DecodeError, RecursionError, ValueError, OverflowError)
AZURE_ENDS: Final = frozenset({"Preempt", "Terminate", "Reboot", "Redeploy"})
AZURE_PAUSE: Final = "Freeze"  # some seconds without CPU and network; memory and files stay


class Notice(Struct, frozen=True):
    """What a cloud has in mind with the machine."""

    weight: Literal["end", "risk", "pause"]  # taken away; perhaps soon; stood still for a moment
    reason: str  # for people; the same words are the same notice
    left_s: float | None = None  # until the end
    is_timed: bool = False  # the answer told when; else it is what the cloud promises, from the first look on


class Look(Struct, frozen=True):
    """What one question brought: notices, perhaps none; or the problem, which says nothing of either."""

    notices: tuple[Notice, ...] = ()
    problem: str = ""


class SpotAction(Struct, frozen=True):
    """`spot/instance-action` of AWS."""

    action: Literal["terminate", "stop", "hibernate"]
    time: datetime


class Rebalance(Struct, frozen=True, rename="camel"):
    """`events/recommendations/rebalance` of AWS."""

    notice_time: datetime


class AzureEvent(Struct, frozen=True, rename="pascal"):
    """The part of a scheduled event that is looked at."""

    event_type: str
    event_status: str = ""
    not_before: str = ""  # empty once it has started
    resources: tuple[str, ...] = ()


class AzureEvents(Struct, frozen=True, rename="pascal"):
    """The document of scheduled events."""

    events: tuple[AzureEvent, ...]


class AzureName(Struct, frozen=True):
    """`instance/compute`: what events call the machine."""

    name: str


def read_gce_preempted(answer: Answer) -> Look:
    """Read `instance/preempted`."""
    text, problem = text_of(GCE, "preempted", flavored(answer))
    if text == "TRUE":
        return Look((Notice("end", "GCE preempts this machine", GCE_PREEMPTED_S),))
    return Look(problem=problem or ("" if text == "FALSE" else strange(GCE, "preempted")))


def read_gce_maintenance(answer: Answer, *, has_gpus: bool) -> Look:
    """Read `instance/maintenance-event`; machines with GPUs are told an hour ahead."""
    text, problem = text_of(GCE, "maintenance-event", flavored(answer))
    if text == "TERMINATE_ON_HOST_MAINTENANCE":
        left_s = GCE_TERMINATE_GPU_S if has_gpus else GCE_TERMINATE_S
        return Look((Notice("end", "GCE ends this machine for maintenance of its host", left_s),))
    if text == "MIGRATE_ON_HOST_MAINTENANCE":
        return Look((Notice("pause", "GCE migrates this machine while it runs"),))
    return Look(problem=problem or ("" if text == "NONE" else strange(GCE, "maintenance-event")))


def read_spot_action(answer: Answer, now: datetime) -> Look:
    """Read `spot/instance-action`; 404 is the answer where nothing is to come.

    The time is compared with that of the answer's own head, where it has one: our clock may be wrong.
    """
    if answer.status == 404 and not answer.problem:
        return Look()
    text, problem = text_of(AWS, "spot/instance-action", answer)
    if problem:
        return Look(problem=problem)
    try:
        action = msgspec.json.decode(text, type=SpotAction)
        left_s = min(left(action.time, answer, now), AWS_SPOT_S)
        reason = f"AWS will {action.action} this spot instance at {shown(action.time)}"
    except ODD:
        return Look(problem=strange(AWS, "spot/instance-action"))
    return Look((Notice("end", reason, left_s, is_timed=True),))


def read_rebalance(answer: Answer) -> Look:
    """Read `events/recommendations/rebalance`; 404 is the answer where there is none."""
    if answer.status == 404 and not answer.problem:
        return Look()
    text, problem = text_of(AWS, "rebalance", answer)
    if problem:
        return Look(problem=problem)
    try:
        at = shown(msgspec.json.decode(text, type=Rebalance).notice_time)
    except ODD:
        return Look(problem=strange(AWS, "rebalance"))
    return Look((Notice("risk", f"AWS recommended to rebalance at {at}"),))


def read_azure_name(answer: Answer) -> tuple[str, str]:
    """Return the machine's name in scheduled events, and the problem where there is one."""
    text, problem = text_of(AZURE, "instance/compute", answer)
    if problem:
        return "", problem
    try:
        name = msgspec.json.decode(text, type=AzureName).name
    except ODD:
        name = ""
    return (name, "") if name else ("", strange(AZURE, "instance/compute"))


def read_azure_events(answer: Answer, name: str, now: datetime) -> Look:
    """Read `scheduledevents`: those of the machine with this name; the document may hold others'."""
    text, problem = text_of(AZURE, "scheduledevents", answer)
    if problem:
        return Look(problem=problem)
    try:
        document = msgspec.json.decode(text, type=AzureEvents)
        own = [event for event in document.events if is_of(event, name)]
        return Look(tuple(notice for event in own for notice in azure_notices(event, answer, now)))
    except ODD:
        return Look(problem=strange(AZURE, "scheduledevents"))


def is_of(event: AzureEvent, name: str) -> bool:
    """Tell whether an event is about the machine; names of Azure know no capitals."""
    return name.casefold() in {resource.casefold() for resource in event.resources}


def azure_notices(event: AzureEvent, answer: Answer, now: datetime) -> list[Notice]:
    """Return what an event means, nothing for a kind that is not known.

    Raises:
        ValueError: its time is none.
    """
    if event.event_type == AZURE_PAUSE:
        return [Notice("pause", "Azure lets this machine stand still for a moment (Freeze)")]
    if event.event_type not in AZURE_ENDS:
        return []
    if not event.not_before:  # it has started
        return [Notice("end", f"Azure takes this machine now ({event.event_type})", LEAST_S)]
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few machines have such a notice

    at = parsedate_to_datetime(event.not_before)
    reason = f"Azure takes this machine at {shown(at)} ({event.event_type})"
    return [Notice("end", reason, min(left(at, answer, now), AZURE_S), is_timed=True)]


def left(at: datetime, answer: Answer, now: datetime) -> float:
    """Return the seconds until a moment, `LEAST_S` at least."""
    return max((aware(at) - (answer.date or now)).total_seconds(), LEAST_S)


def shown(at: datetime) -> str:
    """Return a moment for people, in UTC."""
    return aware(at).strftime("%Y-%m-%d %H:%M:%SZ")


def aware(at: datetime) -> datetime:
    """Return a moment in UTC; without a zone it is that."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
