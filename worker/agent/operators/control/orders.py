"""What can be asked of a running agent, and what it does then. A field is added, never repurposed."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import isfinite
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from worker.agent.drain import Drain
from worker.agent.operators.control.pause import Pause
from worker.agent.operators.status import Status
from worker.agent.operators.survey import Survey
from worker.api.wire import ErrorKind

__all__ = ["Answer", "DrainOrder", "Order", "Orders", "PauseOrder", "Refused", "ResumeOrder", "read_order"]

WITHIN_S_MAX: Final = 30 * 86_400.0
log = structlog.get_logger()


class Refused(Exception):  # noqa: N818 - an answer
    """An order that is not carried out: why, and what to do."""


class StatusOrder(Struct, frozen=True, tag_field="do", tag="status"):
    """Say how the agent stands."""


class DrainOrder(Struct, frozen=True, tag_field="do", tag="drain", rename="camel"):
    """End: claim nothing more, and let what runs finish."""

    within_s: float | None = None  # None: as long as the agent's own setting says
    is_now: bool = False


class PauseOrder(Struct, frozen=True, tag_field="do", tag="pause"):
    """Claim nothing until told otherwise."""

    reason: str = ""


class ResumeOrder(Struct, frozen=True, tag_field="do", tag="resume"):
    """Claim again."""


class StacksOrder(Struct, frozen=True, tag_field="do", tag="stacks"):
    """Say what every thread and every task is at."""


class MetricsOrder(Struct, frozen=True, tag_field="do", tag="metrics"):
    """Give the metrics, in Prometheus' text format."""


Order = StatusOrder | DrainOrder | PauseOrder | ResumeOrder | StacksOrder | MetricsOrder
DECODER: Final[msgspec.json.Decoder[Order]] = msgspec.json.Decoder(Order)


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What came of an order."""

    pid: int
    status: Status | None = None
    text: str | None = None  # stacks or metrics
    note: str | None = None  # what did not go as it should, though the order was carried out
    error: str | None = None  # why it was not


def read_order(line: bytes) -> Order:
    """Return the order that a line says.

    Raises: Refused where it is none of those that are known.
    """
    try:
        return DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Refused(f"this agent does not know the order: {exc}") from exc


class Orders:
    """Carry out orders; nothing here waits."""

    def __init__(
        self,
        survey: Survey,
        drain: Drain,
        pause: Pause,
        *,
        stacks: Callable[[], str],
        metrics: Callable[[], str],
    ) -> None:
        """Take the parts that are asked and told."""
        self._survey = survey
        self._drain = drain
        self._pause = pause
        self._stacks = stacks
        self._metrics = metrics

    def obey(self, order: Order) -> Answer:
        """Carry out one order.

        Raises: Refused where the agent cannot do it as it stands.
        """
        note = None
        match order:
            case StacksOrder():
                return Answer(pid=os.getpid(), text=self._stacks())
            case MetricsOrder():
                return Answer(pid=os.getpid(), text=self._metrics())
            case DrainOrder():
                note = self._end(order)
            case PauseOrder() | ResumeOrder():
                note = self._hold(order)
            case StatusOrder():
                pass
        return Answer(pid=os.getpid(), status=self._survey.status(), note=note)

    def _end(self, order: DrainOrder) -> str | None:
        """Drain; returns a note where the end was nearer already."""
        if order.is_now:
            self._drain.hurry("millhand drain --now")
            return None
        limit_s = order.within_s
        if limit_s is not None and not (isfinite(limit_s) and 0 <= limit_s <= WITHIN_S_MAX):
            raise Refused(f"a drain takes 0 to {WITHIN_S_MAX:.0f} seconds, not {limit_s}")
        if self._drain.is_requested and (limit_s is None or limit_s >= self._drain.left_s()):
            return f"it drains already, and ends within {self._drain.left_s():.0f} s: nothing puts that off"
        limit_s = self._drain.left_s() if limit_s is None else limit_s
        self._drain.request(ErrorKind.DRAINED, "millhand drain", within_s=limit_s)
        return None

    def _hold(self, order: PauseOrder | ResumeOrder) -> str | None:
        if self._drain.is_requested:
            raise Refused("the agent drains: it claims nothing more, and ends")
        if isinstance(order, PauseOrder):
            return self._pause.begin(order.reason)
        return self._pause.end()
