"""A short-lived child that says what handlers modules or files have: JSON on its stdout, by target.

``python -P -m worker.executor.describe TARGET…``. Of several each is imported in a fork of its own; one that
crashes there is missing in the answer. What an author's code prints while it is imported goes to stderr.
"""

from __future__ import annotations

import inspect
import os
import sys

import msgspec

from worker.executor.description import Described, Description
from worker.executor.forks import in_forks
from worker.executor.handler_state import takes_context
from worker.executor.loading import LoadError, handlers_of, load_handler, load_module, split_target
from worker.executor.sources import handler_sources
from worker.sdk.handler import HandlerSpec
from worker.sdk.parameters import read_signature

__all__ = ["describe", "main"]

TOGETHER_S = 20.0  # of several at once; who asks goes on to ask those that gave no answer one by one


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


def encoded(target: str) -> bytes:
    """Describe a target, as JSON."""
    return msgspec.json.encode(describe(*split_target(target)))


def main(*targets: str) -> None:
    """Write the descriptions."""
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever an import prints must not mix with the answer
    found = (
        in_forks(encoded, targets, TOGETHER_S) if len(targets) > 1 else {one: encoded(one) for one in targets}
    )
    with os.fdopen(answer, "wb") as out:
        out.write(msgspec.json.encode({target: msgspec.Raw(one) for target, one in found.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
