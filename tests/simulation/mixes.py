"""What may happen in a history, by name."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, structs

from tests.simulation.network import FAULTS, PUNCTUAL
from tests.simulation.server import Ids

__all__ = ["MIXES", "Mix"]


class Mix(Struct, frozen=True, kw_only=True):
    """What may happen in a history."""

    ids: Ids = "key"
    fault_ratio: float = 0.0  # share of requests to which something happens
    faults: tuple[str, ...] = FAULTS
    lags: bool = False  # lists show the state of a second ago
    ends: tuple[str, ...] = ()  # how lives may end before the last one: kill, drain, hurry, power
    lives: int = 2  # of each machine
    is_cut_off: bool = False  # the server is away once, up to an hour
    is_parted: bool = False  # single machines are cut off now and then, in both directions or in one
    freezes: bool = False  # agents stand still now and then; their minders do not
    has_odd_clocks: bool = False  # machines' clocks are wrong, drift, and jump
    is_leased: bool = False  # the server gives the tasks of silent runs away
    files: int = 0  # of each run; their store comes and goes, and answers of it get lost
    retry: dict[str, float] | None = None  # what tasks say of it; then many executions fail
    tells_date: bool = False  # answers have `Date`
    is_cancelled: bool = False  # the job is cancelled in the middle
    poll_max_s: float = 20.0  # between two polls; less where it matters how soon a task is taken
    run_max_s: float = 30.0  # how long an execution takes at most; leases are of 60 s
    short_ratio: float = 0.0  # share of executions that are over within moments: claims go ahead of them
    tasks: int = 4
    comes_later: int = 0  # of the tasks that are made while agents are at it
    has_offers: bool = False  # the server takes them; where it grants leases, of every other seed
    has_batches: bool = False  # the server takes them whatever the seed; without, of every other seed


SLOW: Final = {"maxAttempts": 100, "backoff": 40.0, "factor": 1.0}
QUICKER: Final = {"maxAttempts": 100, "backoff": 5.0, "factor": 1.5, "maxBackoff": 30.0}
ALL_ENDS: Final = ("kill", "kill", "drain", "hurry")
ALL_AT_ONCE: Final = Mix(
    fault_ratio=0.05,
    ends=(*ALL_ENDS, "power"),
    is_leased=True,
    is_cut_off=True,
    is_parted=True,
    freezes=True,
    has_odd_clocks=True,
)
MIXES: Final = {
    "kills": Mix(ends=("kill",)),
    "answers come late": Mix(fault_ratio=0.2, faults=("answer late",), ends=ALL_ENDS),
    "kills and faults": Mix(fault_ratio=0.1, ends=("kill",)),
    "drains and faults": Mix(fault_ratio=0.1, ends=("drain", "hurry")),
    "kills, drains and faults, lists lag": Mix(fault_ratio=0.1, lags=True, ends=ALL_ENDS),
    "kills, drains and faults, server away": Mix(fault_ratio=0.05, ends=ALL_ENDS, is_cut_off=True),
    "server away while runs end": Mix(ends=ALL_ENDS, lives=0, is_cut_off=True),
    "everything": Mix(
        fault_ratio=0.05, ends=ALL_ENDS, is_cut_off=True, is_parted=True, freezes=True, has_odd_clocks=True
    ),
    "job cancelled": Mix(fault_ratio=0.05, ends=ALL_ENDS, lives=1, is_cancelled=True, run_max_s=300.0),
    "job cancelled, kills": Mix(fault_ratio=0.05, ends=("kill",), is_cancelled=True, run_max_s=300.0),
    "leases, kills and faults": Mix(fault_ratio=0.1, ends=("kill",), is_leased=True),
    "leases, kills, drains and faults, server away": Mix(
        fault_ratio=0.05, ends=ALL_ENDS, is_cut_off=True, is_leased=True
    ),
    "leases, server away while runs end": Mix(
        ends=ALL_ENDS, lives=0, is_cut_off=True, is_leased=True, run_max_s=100.0
    ),
    "leases, machines parted": Mix(
        fault_ratio=0.1,
        lives=0,
        is_leased=True,
        is_parted=True,
        freezes=True,
        has_odd_clocks=True,
        run_max_s=200.0,
    ),
    "leases, answers come late": Mix(
        fault_ratio=0.2,
        faults=("answer late",),
        lives=0,
        is_leased=True,
        is_parted=True,
        poll_max_s=2.0,
        run_max_s=200.0,
    ),
    "leases, everything": structs.replace(
        ALL_AT_ONCE,
        run_max_s=100.0,
    ),
    "ids ignored, kills": Mix(ids="ignore", lags=True, ends=("kill",)),
    "ids ignored, answers lost": Mix(
        ids="ignore", lags=True, fault_ratio=0.2, faults=("answer lost",), ends=("kill",)
    ),
    "ids ignored, all": Mix(ids="ignore", lags=True, fault_ratio=0.05, faults=PUNCTUAL, ends=ALL_ENDS),
    "files, kills, drains and faults": Mix(fault_ratio=0.05, ends=ALL_ENDS, files=2),
    "files, server away": Mix(ends=ALL_ENDS, files=2, is_cut_off=True),
    "files, ids ignored, all": Mix(
        ids="ignore", lags=True, fault_ratio=0.05, faults=PUNCTUAL, ends=ALL_ENDS, files=2
    ),
    "retries, kills and faults": Mix(
        fault_ratio=0.1, ends=("kill",), retry=SLOW, tells_date=True, poll_max_s=5.0, run_max_s=10.0
    ),
    "retries, everything, server without time": Mix(
        fault_ratio=0.05, ends=ALL_ENDS, retry=QUICKER, is_cut_off=True, is_parted=True, run_max_s=10.0
    ),
    "retries, leases, everything": structs.replace(
        ALL_AT_ONCE,
        retry=QUICKER,
        tells_date=True,
    ),
    "retries, ids ignored": Mix(
        ids="ignore",
        lags=True,
        fault_ratio=0.05,
        faults=PUNCTUAL,
        ends=ALL_ENDS,
        retry=QUICKER,
        tells_date=True,
    ),
    "batches, kills, drains and faults": Mix(
        fault_ratio=0.1, ends=ALL_ENDS, tasks=24, run_max_s=3.0, has_batches=True
    ),
    "batches, everything": structs.replace(
        ALL_AT_ONCE,
        tasks=24,
        run_max_s=20.0,
        has_batches=True,
    ),
    "claims ahead, kills, drains and faults": Mix(
        fault_ratio=0.1,
        ends=ALL_ENDS,
        is_leased=True,
        tasks=40,
        run_max_s=3.0,
        short_ratio=0.8,
        has_batches=True,
    ),
    "claims ahead, everything": structs.replace(
        ALL_AT_ONCE,
        tasks=40,
        run_max_s=20.0,
        short_ratio=0.9,
    ),
    "offers, kills, drains and faults": Mix(
        fault_ratio=0.1,
        ends=ALL_ENDS,
        is_leased=True,
        has_offers=True,
        tasks=24,
        comes_later=22,
        run_max_s=3.0,
        short_ratio=0.5,
    ),
    "offers, everything": structs.replace(
        ALL_AT_ONCE,
        lives=4,
        has_offers=True,
        tasks=24,
        comes_later=22,
        run_max_s=20.0,
    ),
    "offers, answers come late": Mix(
        fault_ratio=0.2,
        faults=("answer late", "late", "twice"),
        lives=0,
        is_leased=True,
        is_parted=True,
        has_offers=True,
        poll_max_s=2.0,
        run_max_s=100.0,
        tasks=12,
        comes_later=10,
    ),
    "overwritten, drains": Mix(ids="overwrite", lags=True, ends=("drain", "hurry")),
    "overwritten, all": Mix(ids="overwrite", lags=True, fault_ratio=0.05, faults=PUNCTUAL, ends=ALL_ENDS),
}
