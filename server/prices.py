"""What machines cost: a file of prices, and what runs cost by it.

The first entry that fits a run counts. One that asks for a fact which the run never told makes its cost
unknown: the entries after it may be for other machines.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from server.store.usage import UsageRow

__all__ = ["Cost", "Price", "Prices", "PricesError", "read_prices"]

MAX_BYTES: Final = 1024 * 1024
HOUR_S: Final = 3600.0
Amount = Annotated[float, Meta(ge=0, le=1e9)]
Pattern = Annotated[str, Meta(min_length=1)]


class PricesError(Exception):
    """The file of prices cannot be read: which one, where in it, why."""


class Cost(Struct, frozen=True):
    """What runs cost, or why that is unknown."""

    amount: float | None
    reason: str = ""


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry: what it is for, then what an hour costs. Texts are patterns, as ``g2-*``."""

    machine_type: Pattern | None = None
    gpu_type: Pattern | None = None
    zone: Pattern | None = None
    task_type: Pattern | None = None
    spot: bool | None = None
    machine_hour: Amount | None = None  # of the whole machine
    slots: Annotated[int, Meta(ge=1, le=4096)] = 1  # how many runs it is shared by
    gpu_hour: Amount | None = None  # of each GPU that a run had
    cpu_hour: Amount | None = None  # of CPU time that it used

    @property
    def _is_of_gpus(self) -> bool:
        """Tell whether it is for the GPUs that a run had, not for the machine that has them."""
        return self.gpu_hour is not None and self.machine_hour is None

    def fits(self, row: UsageRow) -> bool | None:
        """Tell whether it is for such runs; None where it asks for what they never told."""
        is_unknown = False
        for name in ("machine_type", "gpu_type", "zone", "task_type"):
            wanted, told = getattr(self, name), getattr(row, name)
            if wanted is None:
                continue
            if name == "gpu_type" and self._is_of_gpus and told is None and row.gpu_s == 0:
                return False
            if told is None:
                is_unknown = True
            elif not fnmatchcase(told, wanted):
                return False
        if self.spot is not None and row.preemptible is not None and row.preemptible is not self.spot:
            return False
        return None if is_unknown or (self.spot is not None and row.preemptible is None) else True

    def cost_of(self, row: UsageRow) -> Cost:
        """Return what such runs cost by it."""
        parts = (
            (self.machine_hour, row.wall_s, self.slots, "how long they took"),
            (self.gpu_hour, row.gpu_s, 1, "their GPU time"),
            (self.cpu_hour, row.cpu_s, 1, "their CPU time"),
        )
        total = 0.0
        for an_hour, seconds, shared_by, what in parts:
            if an_hour is None:
                continue
            if seconds is None:
                return Cost(None, f"{what} is unknown")
            total += an_hour * seconds / HOUR_S / shared_by
        return Cost(total)


class Prices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The entries, in their order."""

    currency: Annotated[str, Meta(min_length=1, max_length=12)]
    price: Annotated[tuple[Price, ...], Meta(min_length=1)]

    def cost_of(self, row: UsageRow) -> Cost:
        """Return what runs cost by the first entry that fits."""
        for entry in self.price:
            fits = entry.fits(row)
            if fits is None:
                return Cost(None, "a price asks for a fact that they never told")
            if fits:
                return entry.cost_of(row)
        return Cost(None, "no price fits")


def read_prices(path: Path) -> Prices:
    """Read a file of prices.

    Raises:
        PricesError: it cannot be read, or is not as described in ``docs/dashboard.md``.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise PricesError(f"prices {path}: the file is larger than 1 MiB")
        found = msgspec.toml.decode(text, type=Prices)
    except OSError as exc:
        raise PricesError(f"prices {path}: {exc.strerror}") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise PricesError(f"prices {path}: {exc}") from exc
    for number, entry in enumerate(found.price, 1):
        if entry.machine_hour is None and entry.gpu_hour is None and entry.cpu_hour is None:
            hours = "machine_hour, gpu_hour or cpu_hour"
            raise PricesError(f"prices {path}: entry {number} of [[price]] has no price: give {hours}")
        if entry.slots > 1 and entry.machine_hour is None:
            raise PricesError(
                f"prices {path}: entry {number} of [[price]] shares a machine that has no price"
            )
    return found
