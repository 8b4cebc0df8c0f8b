"""A short-lived child that says what handlers a module or file has: JSON on its stdout.

``python -P -m worker.executor.describe WHERE [ATTRIBUTE]``. What the author's code prints while it
is imported goes to stderr.
"""

from __future__ import annotations

import inspect
import os
import sys

import msgspec

from worker.executor.description import Described, Description
from worker.executor.handler_state import takes_context
from worker.executor.loading import LoadError, handlers_of, load_handler, load_module
from worker.executor.sources import handler_sources
from worker.sdk.handler import HandlerSpec
from worker.sdk.parameters import read_signature

__all__ = ["describe", "main"]


def describe(where: str, attribute: str | None) -> Description:
    """Import and describe; what goes wrong is part of the description."""
    try:
        if attribute is not None:
            target = f"{where}:{attribute}"
            spec = load_handler("", target)
            return Description(handlers=(described(spec, target),), sources=sources_of([spec]))
        specs = handlers_of(load_module(where))
    except LoadError as exc:
        return Description(
            error=str(exc),
            traceback=exc.traceback,
            missing=exc.missing,
            is_unavailable=exc.is_unavailable,
        )
    if not specs:
        return Description(error=f"{where} has no handler: no function decorated with @handler")
    return Description(handlers=tuple(described(spec, where) for spec in specs), sources=sources_of(specs))


def sources_of(specs: list[HandlerSpec]) -> dict[str, int]:
    """Return the files that handlers are made of: the class of their parameters may stand in another one."""
    files = {inspect.unwrap(spec.function).__code__.co_filename for spec in specs}
    return {path: changed for file in sorted(files) for path, changed in handler_sources(file).items()}


def described(spec: HandlerSpec, target: str) -> Described:
    """Describe one handler; in a module or file without an attribute it is found by its type."""
    try:
        if spec.setup is not None:
            takes_context(spec.setup)
        schema = read_signature(spec.function).schema(spec.doc)
    except TypeError as exc:
        return Described(type=spec.type, target=target, doc=spec.doc, problem=str(exc))
    return Described(
        type=spec.type,
        target=target,
        doc=spec.doc,
        parameters=schema,
        options=spec.options(),
        secrets=spec.secrets,
    )


def main(where: str, attribute: str | None = None) -> None:
    """Write the description."""
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever an import prints must not mix with the answer
    os.write(answer, msgspec.json.encode(describe(where, attribute)))


if __name__ == "__main__":
    main(*sys.argv[1:])
