"""When a failed run is worth another attempt, as a handler says it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["ERROR_KINDS", "RetryPolicy"]

# The kinds of errors that a policy can name. Interruptions (drained, preempted, worker_lost) are no
# attempts, and the others come again however often one tries.
ERROR_KINDS = ("handler_error", "timeout", "no_progress", "out_of_memory", "crashed", "internal")
ATTEMPTS_BOUND = 1000
WAIT_BOUND_S = 86400.0  # a day: what waits longer is another task
FACTOR_BOUND = 100.0
NAMES_BOUND = 64
NAME_CHARS = 256


class RetryPolicy:
    """How often, after which waits, and after which errors a task of this type is tried again. Frozen.

    ::

        @handler("fetch", retry=RetryPolicy(max_attempts=5, backoff_s=30, retry_on=(ConnectionError,)))

    What is not given stays as it is without a policy: 3 attempts; 2 s before the second one, doubled
    each time, 300 s at most. A task's own ``parameters.retry`` wins over it, key by key.
    """

    __slots__ = ("_options",)

    def __init__(
        self,
        *,
        max_attempts: int | None = None,
        backoff_s: float | None = None,
        factor: float | None = None,
        max_backoff_s: float | None = None,
        jitter: bool | None = None,
        retry_on: Iterable[type[BaseException] | str] | None = None,
        no_retry_on: Iterable[type[BaseException] | str] | None = None,
    ) -> None:
        """Take the parts.

        Args:
            max_attempts: with the first one; interruptions are not counted. The agent bounds it.
            backoff_s: the wait before the second attempt, from when the first one was told to have failed.
            factor: by which each further wait is longer; 1 for waits that are all the same.
            max_backoff_s: the longest wait, a day at most.
            jitter: take any part of the wait instead of the whole, so that tasks that failed together
                do not come back together.
            retry_on: errors that are worth another attempt, beside those that are so anyway (`Retry`,
                crashes, ...): exception classes or their names, subclasses included, and kinds of errors,
                such as ``"timeout"``.
            no_retry_on: errors that are not, whatever else says so.

        Raises:
            ValueError: one of them is out of its range, or names no error.
        """
        check_numbers(max_attempts, backoff_s, factor, max_backoff_s)
        options = {
            "maxAttempts": max_attempts,
            "backoff": backoff_s,
            "factor": factor,
            "maxBackoff": max_backoff_s,
            "jitter": None if jitter is None else bool(jitter),
            "retryOn": None if retry_on is None else names_of("retry_on", retry_on),
            "noRetryOn": None if no_retry_on is None else names_of("no_retry_on", no_retry_on),
        }
        given = {name: value for name, value in options.items() if value is not None}
        object.__setattr__(self, "_options", given)

    if TYPE_CHECKING:
        _options: dict[str, Any]

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a policy is frozen."""
        raise AttributeError(f"a RetryPolicy is frozen; {name!r} cannot be set")

    def __repr__(self) -> str:
        """Show what was given."""
        return f"RetryPolicy({', '.join(f'{name}={value!r}' for name, value in self._options.items())})"

    def options(self) -> dict[str, Any]:
        """Return what was given, as a task's `parameters.retry` says it. JSON-able."""
        return dict(self._options)


def check_numbers(
    max_attempts: int | None, backoff_s: float | None, factor: float | None, max_backoff_s: float | None
) -> None:
    """Raise ValueError that names the number that is out of its range."""
    if max_attempts is not None and not (is_whole(max_attempts) and 1 <= max_attempts <= ATTEMPTS_BOUND):
        raise ValueError(f"max_attempts is a whole number, 1 to {ATTEMPTS_BOUND}, not {max_attempts!r}")
    for name, seconds in (("backoff_s", backoff_s), ("max_backoff_s", max_backoff_s)):
        if seconds is not None and not (is_number(seconds) and 0 <= seconds <= WAIT_BOUND_S):
            raise ValueError(f"{name} is 0 to {WAIT_BOUND_S:.0f} seconds, not {seconds!r}")
    if factor is not None and not (is_number(factor) and 1 <= factor <= FACTOR_BOUND):
        raise ValueError(f"factor is a number, 1 to {FACTOR_BOUND:.0f}, not {factor!r}")


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Tell whether a value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def names_of(option: str, errors: Iterable[type[BaseException] | str]) -> list[str]:
    """Return the names of errors; raise ValueError that names what is none."""
    if isinstance(errors, str | type):
        raise ValueError(f"{option} takes several: write {option}=({shown(errors)},)")
    names = [name_of(option, one) for one in errors]
    if len(names) > NAMES_BOUND:
        raise ValueError(f"{option} has {len(names)} names, more than {NAMES_BOUND}")
    return names


def name_of(option: str, error: object) -> str:
    """Return the name of a class with its module, or a name as it is."""
    if isinstance(error, type) and issubclass(error, BaseException):
        return f"{error.__module__}.{error.__qualname__}"
    if not isinstance(error, str) or (problem := problem_of(error)) is not None:
        why = problem if isinstance(error, str) else "it is no exception class and no name"
        raise ValueError(f"{option}: {shown(error)}: {why}")
    return error


def problem_of(name: str) -> str | None:
    """Return why a name cannot be that of an error; None where it can.

    A plain word in small letters is a kind of error, so that a slip in one is not taken for a class.
    """
    if (
        not name.strip()
        or len(name) > NAME_CHARS
        or not name.replace(".", "_").replace("<locals>", "_").isidentifier()
    ):
        return "it is no name of an exception class, and no kind of error"
    if name in ERROR_KINDS or "." in name or name != name.lower():
        return None
    known = ", ".join(ERROR_KINDS)
    return f"it is no kind of error ({known}); a class that is written so needs its module before it"


def shown(error: object) -> str:
    """Return what was given, for a message."""
    return error.__name__ if isinstance(error, type) else repr(error)[:80]
