"""What a task says that it needs: `parameters.requires`, read strictly.

A task that asks for something we do not understand is left alone rather than run in the wrong
place, so every word that cannot be read is a problem with the name of its key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from worker.executor.quantities import MAX_CHARS, MAX_NUMBER, cut, read_number, read_size, shown

__all__ = ["Requirements", "read_requirements"]

Label = tuple[str, str | None]  # a key, and the value it must have; None: any

MAX_ITEMS: Final = 64  # labels, or names of GPUs, in one task


class Requirements(Struct, frozen=True, kw_only=True):
    """What a task needs; None and empty mean that it does not matter. Sizes in bytes."""

    gpus: int | None = None
    gpu_type: tuple[str, ...] = ()  # any of these: part of the name, or a pattern with * ? [ ]
    gpu_memory: int | None = None  # of each GPU
    cpus: Decimal | None = None
    memory: int | None = None
    labels: tuple[Label, ...] = ()

    @property
    def gpu_count(self) -> int:
        """How many GPUs: as told, else one where a type or memory of a GPU is asked for."""
        if self.gpus is not None:
            return self.gpus
        return 1 if self.gpu_type or self.gpu_memory is not None else 0


def read_requirements(requires: object) -> tuple[Requirements, tuple[str, ...]]:
    """Return what a task needs, and what of it could not be read (each with the name of its key).

    A task without `requires` (None), or with an empty one, needs nothing.
    """
    if requires is None:
        return Requirements(), ()
    if not isinstance(requires, Mapping):
        return Requirements(), (f"requires must be an object with {KNOWN}, not {shown(requires)}",)
    read: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in list(requires.items())[:MAX_ITEMS]:
        if key not in READERS:
            problems.append(f"requires.{cut(str(key))} is not known; known are {KNOWN}")
        elif value is not None:
            field, reader = READERS[key]
            try:
                read[field] = reader(value)
            except ValueError as error:
                problems.append(f"requires.{key} {error}")
    wanted = Requirements(**read)
    if wanted.gpus == 0 and (wanted.gpu_type or wanted.gpu_memory):
        problems.append("requires.gpus is 0, but a type or memory of GPUs is asked for")
    return wanted, tuple(problems)


def read_count(value: object) -> int:
    """Read a whole number from 0; raise ValueError that says what is wrong."""
    number = read_number(value)
    if number != number.to_integral_value():
        raise ValueError(f"must be a whole number, not {shown(value)}")
    return int(number)


def read_words(value: object) -> tuple[str, ...]:
    """Read one non-empty text, or a list of them."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not words or not all(is_word(word) for word in words):
        raise ValueError(f"must be a name or a list of names, not {shown(value)}")
    if len(words) > MAX_ITEMS:
        raise ValueError(f"must have at most {MAX_ITEMS} names, not {len(words)}")
    return tuple(word.strip() for word in words)


def is_word(value: object) -> bool:
    """Tell whether a value is text with something in it, of a sane length."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_CHARS


def read_labels(value: object) -> tuple[Label, ...]:
    """Read labels: an object of keys and values (null: any), or a list of "key=value" and "key"."""
    if isinstance(value, Mapping):
        labels = [
            (key, None if wanted is None else label_value(key, wanted)) for key, wanted in value.items()
        ]
    elif isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        labels = [(key, wanted if sign else None) for key, sign, wanted in (i.partition("=") for i in value)]
    else:
        raise ValueError(f'must be an object, or a list of "key=value" and "key", not {shown(value)}')
    if len(labels) > MAX_ITEMS:
        raise ValueError(f"must have at most {MAX_ITEMS} labels, not {len(labels)}")
    for key, _ in labels:
        if not is_word(key):
            raise ValueError(f"has a label without a usable key: {shown(key)}")
    return tuple((key.strip(), None if wanted is None else wanted.strip()) for key, wanted in labels)


def label_value(key: object, value: object) -> str:
    """Return a label's value as text; numbers and truth values as JSON writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) or (isinstance(value, int | float) and abs(value) < MAX_NUMBER):
        text = str(value)
        if len(text) <= MAX_CHARS:
            return text
    raise ValueError(f"must have text as the value of {shown(key)}, not {shown(value)}")


READERS: Final[dict[object, tuple[str, Callable[[object], Any]]]] = {
    "gpus": ("gpus", read_count),
    "gpuType": ("gpu_type", read_words),
    "gpuMemory": ("gpu_memory", read_size),
    "cpus": ("cpus", read_number),
    "memory": ("memory", read_size),
    "labels": ("labels", read_labels),
}
KNOWN: Final = ", ".join(map(str, READERS))
