"""What handler authors import: handler, Context, errors.

Nothing here imports more at start than `time` and `os`: a child that runs a handler, and a script
that declares one, pay a few milliseconds.
"""

from __future__ import annotations

from worker.sdk.context import Context
from worker.sdk.errors import Cancelled, Fail, OutOfMemory, Retry, Unavailable
from worker.sdk.handler import HandlerSpec, SetupContext, handler, spec_of
from worker.sdk.retry_policy import RetryPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from worker.sdk.secret import Secret

__all__ = [
    "Cancelled",
    "Context",
    "Fail",
    "HandlerSpec",
    "OutOfMemory",
    "Retry",
    "RetryPolicy",
    "Secret",
    "SetupContext",
    "Unavailable",
    "handler",
    "spec_of",
]


def __getattr__(name: str) -> object:
    if name != "Secret":  # its module imports msgspec, for 20 ms
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from worker.sdk.secret import Secret as found  # noqa: N813, PLC0415 - at first use

    return found
