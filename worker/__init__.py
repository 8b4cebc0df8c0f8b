"""millhand, a worker agent for the Jobs API. Handler authors import `handler` and `Context` from here.

The names are loaded at first use: `import worker` by the agent or the command line costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself costs 10 ms; type checkers take the name as true
if TYPE_CHECKING:
    from worker.sdk import (
        Cancelled,
        Context,
        Fail,
        OutOfMemory,
        Retry,
        RetryPolicy,
        Secret,
        SetupContext,
        Unavailable,
        handler,
    )

__all__ = [
    "Cancelled",
    "Context",
    "Fail",
    "OutOfMemory",
    "Retry",
    "RetryPolicy",
    "Secret",
    "SetupContext",
    "Unavailable",
    "handler",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import worker.sdk  # noqa: PLC0415 - at first use

    return getattr(worker.sdk, name)
