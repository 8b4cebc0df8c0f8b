"""What handler authors import: handler, Context, errors.

Nothing here imports more at start than `time` and `os`: a child that runs a handler, and a script
that declares one, pay a few milliseconds.
"""

from __future__ import annotations

from worker.sdk.context import Context
from worker.sdk.errors import Cancelled, Fail, Retry
from worker.sdk.handler import HandlerSpec, SetupContext, handler, spec_of

__all__ = ["Cancelled", "Context", "Fail", "HandlerSpec", "Retry", "SetupContext", "handler", "spec_of"]
