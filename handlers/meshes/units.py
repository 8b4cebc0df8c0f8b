"""Units of length: which one a file is in, which one is wanted, and whether that can be true."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from worker import Fail

__all__ = ["FILE_UNITS", "MICROMETRES", "Unit", "Units", "check_size", "planned_units"]

Unit = Literal["mm", "cm", "m", "in", "ft"]

# Whole numbers, so that 25.4 mm are one inch exactly.
MICROMETRES: Final = {"um": 1, "mm": 1_000, "cm": 10_000, "m": 1_000_000, "in": 25_400, "ft": 304_800}
FILE_UNITS: Final = {"glb": "m", "gltf": "m"}  # by the standard; 3MF says it in each file, others never
CARRIES_UNIT: Final = frozenset({"glb", "gltf", "3mf"})
SMALLEST_M: Final = 1e-4
LARGEST_M: Final = 1e3


class Units(NamedTuple):
    """What happens to lengths: multiplied by `factor`, from one unit to another; None: not known."""

    factor: float
    source: str | None
    target: str | None
    warnings: list[str]
    notes: list[str]  # what is true of every such format, and good to know


def planned_units(
    name: str, of_file: str | None, format_: str, units_in: str | None, units_out: str | None
) -> Units:
    """Return what to do with lengths.

    Args:
        name: of the input, for messages.
        of_file: the unit that the input has by its format, or says.
        format_: that will be written.
        units_in: that the task says of the input; wins over `of_file`.
        units_out: that the task wants. By default metres where the format means metres and the unit of
            the input is known, else the unit of the input.

    Raises:
        Fail: a unit is wanted, and nobody says what the input is in.
    """
    source = units_in or of_file
    warnings, notes = [], []
    if units_in and of_file and units_in != of_file:
        warnings.append(f"taken as {units_in}, as units_in says; by the file it would be {of_file}")
    if units_out and source is None:
        raise Fail(f"{name} does not say which unit its lengths are in; give units_in beside units_out")
    fixed = FILE_UNITS.get(format_)
    target = units_out or ((fixed or source) if source else None)
    if source is None and format_ in CARRIES_UNIT:
        read_as = "metres" if fixed else "millimetres"
        warnings.append(
            f"the unit of the input is not known, and {format_} is read as {read_as}: give units_in"
        )
    elif fixed and target != fixed:
        warnings.append(
            f"lengths are in {target} as units_out says, but every program reads {format_} as metres"
        )
    elif target and format_ not in CARRIES_UNIT:
        notes.append(f"{format_} holds no unit: who reads it has to know that its lengths are in {target}")
    factor = MICROMETRES[source] / MICROMETRES[target] if source and target else 1.0
    return Units(factor, source, target, warnings, notes)


def check_size(largest: float, unit: str | None) -> list[str]:
    """Return a warning where a model can hardly be as large as its unit says.

    Args:
        largest: its largest extent.
        unit: that it is in; None: nothing can be said.
    """
    metres = largest * MICROMETRES[unit] / MICROMETRES["m"] if unit else 1.0
    if metres == 0 or SMALLEST_M <= metres <= LARGEST_M:
        return []
    return [f"the largest extent is {largest:.4g} {unit}, {metres:.4g} m: is the unit of the input right?"]
