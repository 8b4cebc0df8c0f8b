"""The matrix: who is killed, at which step of a run, with which fault of the wire. Pure.

Every step comes about in every round, the requeues too: of each four tasks one fails the first time, and its
agent posts the placeholder. A child that is killed before a run has one, or after, is one that waits or is at
another run of that agent. So nothing is left out but nobody without a fault; and the server's death where
the server is somebody else's.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import Final, NamedTuple, Self

from tests.chaos.http1 import Kind

__all__ = [
    "ARRIVING",
    "MATRIX",
    "SENDING",
    "Cell",
    "Fault",
    "Phase",
    "Spot",
    "Step",
    "Victim",
    "in_order",
    "matrix_of",
    "spot_of",
]


class Victim(StrEnum):
    """Who gets SIGKILL."""

    AGENT = "agent"
    CHILD = "child"
    MINDER = "minder"
    SERVER = "server"
    NOBODY = "nobody"


class Phase(StrEnum):
    """How far a request is."""

    SENT = "sent"  # the proxy has it, the server has not
    TAKEN = "taken"  # the server has answered, the agent does not know
    ANSWERED = "answered"  # the answer is on its way to the agent, who may not have read it yet


class Step(StrEnum):
    """A step of a run, in order."""

    POLLED = "polled"  # the list of tasks is taken, the agent has not seen it: before the intent
    INTENT = "intent"  # in the journal, and no claim at the server
    CLAIM_SENT = "claim-sent"
    CLAIM_TAKEN = "claim-taken"
    CLAIM_ANSWERED = "claim-answered"
    STARTED = "started"  # the child's first line
    PROGRESS = "progress"  # the first report of a run is answered
    OUTCOME = "outcome"  # up to 4 ms after the child's last line: about when the agent receives it
    JOURNALLED = "journalled"  # in the journal, and no report of it at the server
    END_SENT = "end-sent"
    END_TAKEN = "end-taken"
    END_ANSWERED = "end-answered"
    REQUEUE_SENT = "requeue-sent"
    REQUEUE_TAKEN = "requeue-taken"
    REQUEUE_ANSWERED = "requeue-answered"

    @property
    def on_wire(self) -> tuple[Kind, Phase] | None:
        """Return the request that is the step; None for steps that the wire does not show."""
        return WIRE.get(self)


WIRE: Final = {
    Step.POLLED: (Kind.POLL, Phase.TAKEN),
    Step.CLAIM_SENT: (Kind.CLAIM, Phase.SENT),
    Step.CLAIM_TAKEN: (Kind.CLAIM, Phase.TAKEN),
    Step.CLAIM_ANSWERED: (Kind.CLAIM, Phase.ANSWERED),
    Step.PROGRESS: (Kind.PROGRESS, Phase.ANSWERED),
    Step.END_SENT: (Kind.END, Phase.SENT),
    Step.END_TAKEN: (Kind.END, Phase.TAKEN),
    Step.END_ANSWERED: (Kind.END, Phase.ANSWERED),
    Step.REQUEUE_SENT: (Kind.REQUEUE, Phase.SENT),
    Step.REQUEUE_TAKEN: (Kind.REQUEUE, Phase.TAKEN),
    Step.REQUEUE_ANSWERED: (Kind.REQUEUE, Phase.ANSWERED),
}


class Fault(StrEnum):
    """What the proxy does to a request."""

    NONE = "none"
    DROP_REQUEST = "drop-request"
    DROP_ANSWER = "drop-answer"
    DELAY = "delay"
    DUPLICATE = "duplicate"
    REORDER = "reorder"  # held until another one has passed
    BAD_GATEWAY = "502"  # a page of HTML, whether the server has it or not
    CUT = "cut"  # all connections, for a while


SENDING: Final = frozenset({Fault.DELAY, Fault.DUPLICATE, Fault.REORDER})
ARRIVING: Final = SENDING | {Fault.DROP_ANSWER}  # the server gets it, though its sender died


class Spot(StrEnum):
    """Where a cell's fault is done."""

    REQUEST = "request"  # to the request that is the step
    ANSWER = "answer"  # to its answer
    NEXT = "next"  # to a request after the step: that one is none, is over, or its sender or receiver is dead


class Cell(NamedTuple):
    """One field of the matrix."""

    victim: Victim
    step: Step
    fault: Fault

    def __str__(self) -> str:
        """Return its name, as `--cell` takes it."""
        return f"{self.victim}@{self.step}+{self.fault}"

    @classmethod
    def named(cls, name: str) -> Self:
        """Read a name.

        Raises: ValueError where it names none.
        """
        victim, _, rest = name.partition("@")
        step, _, fault = rest.partition("+")
        return cls(Victim(victim), Step(step), Fault(fault or "none"))


def spot_of(cell: Cell) -> Spot:
    """Return where the fault of a cell makes a difference that nothing else in it makes."""
    if cell.step.on_wire is None:
        return Spot.NEXT
    kind, phase = cell.step.on_wire
    if cell.fault in SENDING:  # a poll is known as the step by its answer: too late to hold it
        return Spot.NEXT if kind is Kind.POLL else Spot.REQUEST
    if phase is Phase.ANSWERED or (cell.victim, cell.fault) in LATER:
        return Spot.NEXT
    if phase is Phase.TAKEN:
        return Spot.ANSWER if cell.fault in ON_ANSWER and cell.victim is not Victim.AGENT else Spot.NEXT
    if (cell.victim, cell.fault) == (Victim.SERVER, Fault.DROP_ANSWER):  # it gives none
        return Spot.NEXT
    return Spot.REQUEST


ON_ANSWER: Final = frozenset({Fault.DROP_ANSWER, Fault.BAD_GATEWAY, Fault.CUT})
LATER: Final = frozenset(
    (Victim.AGENT, fault) for fault in (Fault.DROP_REQUEST, Fault.BAD_GATEWAY, Fault.CUT)
)  # a dead agent's own request is lost anyway, and it hears no answer: its next life shall suffer

MATRIX: Final = tuple(
    Cell(victim, step, fault)
    for victim in Victim
    for step in Step
    for fault in Fault
    if (victim, fault) != (Victim.NOBODY, Fault.NONE)
)


def matrix_of(*, is_foreign: bool) -> tuple[Cell, ...]:
    """Return the cells that a server can have: nobody kills a foreign one."""
    return tuple(cell for cell in MATRIX if not (is_foreign and cell.victim is Victim.SERVER))


def in_order(seed: int, cells: Sequence[Cell] = MATRIX) -> list[Cell]:
    """Return cells: first every victim at every step once, each with some fault, then the rest."""
    rng = Random(seed)
    rest = rng.sample(cells, len(cells))
    first = dict[tuple[Victim, Step], Cell]()
    for cell in rest:
        first.setdefault((cell.victim, cell.step), cell)
    heads = list(first.values())
    return heads + [cell for cell in rest if cell not in set(heads)]
