"""How a task says that it is tried again: `parameters.retry`, read strictly.

What cannot be read must not mean "as usual": the run fails at once, with the name of the key. A
handler's own policy has the same keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from worker.executor.quantities import cut, read_number, read_seconds, shown
from worker.executor.retries import RetryRules
from worker.sdk.retry_policy import ATTEMPTS_BOUND, FACTOR_BOUND, NAMES_BOUND, WAIT_BOUND_S, problem_of

__all__ = ["read_retry"]

MAX_KEYS: Final = 64


def read_retry(retry: object) -> tuple[RetryRules, tuple[str, ...]]:
    """Return the rules of a task, and what of them could not be read (each with the name of its key).

    A task without `retry` (None), or with an empty one, says nothing; so does a key that is null.
    """
    if retry is None:
        return RetryRules(), ()
    if not isinstance(retry, Mapping):
        return RetryRules(), (f"retry must be an object with {KNOWN}, not {shown(retry)}",)
    read: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in list(retry.items())[:MAX_KEYS]:
        if key not in READERS:
            problems.append(f"retry.{cut(str(key))} is not known; known are {KNOWN}")
        elif value is not None:
            field, reader = READERS[key]
            try:
                read[field] = reader(value)
            except ValueError as error:
                problems.append(f"retry.{key} {error}")
    return RetryRules(**read), tuple(problems)


def read_attempts(value: object) -> int:
    """Read a count from 1."""
    number = read_number(value)
    if number != number.to_integral_value() or not 1 <= number <= ATTEMPTS_BOUND:
        raise ValueError(f"must be a whole number, 1 to {ATTEMPTS_BOUND}, not {shown(value)}")
    return int(number)


def read_wait(value: object) -> float:
    """Read a duration from 0 to a day."""
    seconds = read_seconds(value)
    if seconds > WAIT_BOUND_S:
        raise ValueError(f"must be a day at most, but is {shown(value)}")
    return seconds


def read_factor(value: object) -> float:
    """Read a factor from 1."""
    factor = float(read_number(value))
    if not 1 <= factor <= FACTOR_BOUND:
        raise ValueError(f"must be 1 to {FACTOR_BOUND:.0f}, not {shown(value)}")
    return factor


def read_truth(value: object) -> bool:
    """Read true or false, also as text."""
    text = value.strip().lower() if isinstance(value, str) else value
    if not isinstance(text, bool) and text not in ("true", "false"):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return text is True or text == "true"


def read_names(value: object) -> tuple[str, ...]:
    """Read one name of an error, or a list of them."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"must be a name or a list of names, not {shown(value)}")
    if len(names) > NAMES_BOUND:
        raise ValueError(f"must have at most {NAMES_BOUND} names, not {len(names)}")
    for name in names:
        if (problem := problem_of(name)) is not None:
            raise ValueError(f"has {shown(name)}: {problem}")
    return tuple(names)


READERS: Final[dict[object, tuple[str, Callable[[object], Any]]]] = {
    "maxAttempts": ("max_attempts", read_attempts),
    "backoff": ("backoff_s", read_wait),
    "factor": ("factor", read_factor),
    "maxBackoff": ("max_backoff_s", read_wait),
    "jitter": ("jitter", read_truth),
    "retryOn": ("retry_on", read_names),
    "noRetryOn": ("no_retry_on", read_names),
}
KNOWN: Final = ", ".join(map(str, READERS))
