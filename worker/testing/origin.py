"""Where a child finds a handler that a test has as a function."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from worker.executor.catalogue import HandlerEntry
from worker.sdk.handler import HandlerSpec, spec_of

__all__ = ["Handler", "child_variables", "entry_of"]

Handler = (
    Callable[..., Any] | str
)  # a decorated function; or a type, or "file.py[:type]", as `millhand run` has it


def entry_of(handler: Callable[..., Any]) -> HandlerEntry:
    """Return how a child finds the handler.

    A module without a package is loaded as a file, as `millhand run` does: its folder need not be on
    the import path. A module of a package is imported by its name.

    Raises:
        TypeError: it is no handler, or no child could find it.
    """
    spec = spec_of(handler)
    if spec is None:
        raise TypeError(f"{handler!r} is not decorated with @handler")
    return HandlerEntry(
        type=spec.type, target=target_of(spec), source=spec.function.__module__, secrets=spec.secrets
    )


def target_of(spec: HandlerSpec) -> str:
    """Return ``module:attribute`` or ``/path/file.py:attribute``."""
    function = inspect.unwrap(spec.function)
    if "<locals>" in function.__qualname__:
        raise TypeError(
            f"handler {spec.type!r} is defined inside a function, where no child finds it;"
            " move it to its module's top level"
        )
    module = function.__module__
    is_file = "." not in module
    return f"{function.__code__.co_filename if is_file else module}:{function.__qualname__}"


def child_variables() -> Mapping[str, str]:
    """Return our environment, with our import path for the child."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}  # noqa: PTH100
