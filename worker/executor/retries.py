"""Whether a failed run is followed by another attempt, and when: a pure decision.

::

    the error ── worth it? ──▶ attempts left? ──▶ after how long?
                   │ no            │ no
                   ▼               ▼
                 the end         the end
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from worker.api.wire import ErrorKind
from worker.executor.outcome import RunError
from worker.executor.quantities import cut

__all__ = ["WAIT_MAX_S", "RetryRules", "Verdict", "decide", "effective_rules"]

ATTEMPTS: Final = 3  # where neither task nor handler says how many
ATTEMPTS_MAX: Final = 100  # where the agent sets no bound
BACKOFF_S: Final = 2.0  # a moment is often enough, and a server in trouble is not hammered
FACTOR: Final = 2.0
BACKOFF_MAX_S: Final = 300.0
WAIT_MAX_S: Final = 86_400.0  # whoever asks for more, or tells more
EXPONENT_MAX: Final = 1000  # of a factor; by then every wait has reached its bound
FINAL: Final = frozenset(
    {ErrorKind.CANCELLED, ErrorKind.INVALID_PARAMETERS, ErrorKind.LOST_CLAIM, ErrorKind.REQUEUED}
)
FAIL: Final = "worker.sdk.errors.Fail"


class RetryRules(Struct, frozen=True, kw_only=True):
    """What a task or a handler says; None: nothing. Names are kinds of errors or exception classes."""

    max_attempts: int | None = None
    backoff_s: float | None = None
    factor: float | None = None
    max_backoff_s: float | None = None
    jitter: bool | None = None
    retry_on: tuple[str, ...] | None = None
    no_retry_on: tuple[str, ...] | None = None


class Verdict(Struct, frozen=True, kw_only=True):
    """What follows a failed run; stands in its `results.retry`."""

    attempt: int | None  # of the failed run; interruptions are not counted. None: it is no attempt
    max_attempts: int
    after_s: float | None  # at least so long until the next one; None: there is none
    reason: str  # for people
    is_worth_it: bool = False  # the error itself allows another attempt

    @property
    def is_again(self) -> bool:
        """Tell whether the task becomes pending again."""
        return self.after_s is not None

    def as_results(self) -> dict[str, Any]:
        """Return `results.retry`."""
        return {
            "attempt": self.attempt,
            "maxAttempts": self.max_attempts,
            "afterS": self.after_s,
            "reason": self.reason,
        }


def effective_rules(task: RetryRules, handler: RetryRules, agent_attempts: int | None) -> RetryRules:
    """Return what holds: each rule of the task, else of the handler, else the usual one.

    `agent_attempts` is the most that the owner of the machine allows.
    """

    def said(name: str, usual: Any) -> Any:
        return next((v for of in (task, handler) if (v := getattr(of, name)) is not None), usual)

    return RetryRules(
        max_attempts=min(said("max_attempts", ATTEMPTS), agent_attempts or ATTEMPTS_MAX),
        backoff_s=said("backoff_s", BACKOFF_S),
        factor=said("factor", FACTOR),
        max_backoff_s=said("max_backoff_s", BACKOFF_MAX_S),
        jitter=said("jitter", False),
        retry_on=said("retry_on", ()),
        no_retry_on=said("no_retry_on", ()),
    )


def decide(rules: RetryRules, error: RunError, *, faults_before: int, run_id: str) -> Verdict:
    """Decide on a run that failed by its own fault.

    Args:
        rules: the effective ones.
        error: how it failed.
        faults_before: how many earlier runs of the task did.
        run_id: of the failed run; jitter comes from it, so that whoever decides again decides alike.
    """
    attempt = faults_before + 1
    most = rules.max_attempts or ATTEMPTS
    refusal = why_not(rules, error)
    if refusal is not None:
        return Verdict(attempt=attempt, max_attempts=most, after_s=None, reason=f"not retried: {refusal}")
    told = f"attempt {attempt} of {most}"
    if attempt >= most:
        reason = f"no further attempt: {told}"
        return Verdict(attempt=attempt, max_attempts=most, after_s=None, reason=reason, is_worth_it=True)
    after_s = wait_s(rules, error, attempt, run_id)
    when = f"in {after_s:g} s" if after_s else "at once"
    return Verdict(
        attempt=attempt,
        max_attempts=most,
        after_s=after_s,
        reason=f"{told}, next {when}",
        is_worth_it=True,
    )


def why_not(rules: RetryRules, error: RunError) -> str | None:
    """Return why an error is not worth another attempt; None where it is."""
    if error.kind in FINAL:
        return f"{error.kind} is final"
    if FAIL in error.types:
        return "the handler failed it for good"
    if (name := named(error, rules.no_retry_on or ())) is not None:
        return f"{short(name)} is in noRetryOn"
    if error.retryable or named(error, rules.retry_on or ()) is not None:
        return None
    return f"{cut(short(error.types[0])) if error.types else error.kind} is not in retryOn"


def named(error: RunError, names: Iterable[str]) -> str | None:
    """Return the first name that means an error: its kind, or its class or one that this is derived from."""
    own = {str(error.kind), *error.types, *map(short, error.types)}
    return next((name for name in names if name in own), None)


def short(name: str) -> str:
    """Return the name of a class without its module."""
    return name.rpartition(".")[2]


def wait_s(rules: RetryRules, error: RunError, attempt: int, run_id: str) -> float:
    """Return how long the next attempt waits; what the handler asks for counts first."""
    if error.retry_after_s is not None:
        return round(min(max(error.retry_after_s, 0.0), WAIT_MAX_S), 3)
    bound = min(rules.max_backoff_s or 0.0, WAIT_MAX_S)
    try:
        wait = min((rules.backoff_s or 0.0) * (rules.factor or 1.0) ** min(attempt - 1, EXPONENT_MAX), bound)
    except OverflowError:
        wait = bound
    return round(wait * (share_of(run_id) if rules.jitter else 1.0), 3)


def share_of(run_id: str) -> float:
    """Return a number in [0, 1) that everybody computes alike from a run's id."""
    return int.from_bytes(hashlib.blake2b(run_id.encode(), digest_size=6).digest()) / 2**48
