"""A short-lived child that checks parameters as a run of the handler would: JSON on stdin and stdout.

``python -P -m worker.executor.check TYPE TARGET``. What the author's code prints goes to stderr.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec

from worker.executor.checking import MAX_BAD_SETS, Checked
from worker.executor.loading import LoadError, load_handler
from worker.sdk.errors import InvalidParameters
from worker.sdk.parameters import Signature, read_signature

__all__ = ["main"]


def check(signature: Signature, sets: list[dict[str, Any]]) -> Checked:
    """Return what is wrong with which sets; the first few that are."""
    bad: dict[int, list[str]] = {}
    for index, parameters in enumerate(sets):
        try:
            signature.check(parameters)
        except InvalidParameters as exc:
            bad[index] = exc.problems
            if len(bad) == MAX_BAD_SETS:
                break
    return Checked(bad=bad)


def main(type_: str, target: str) -> None:
    """Read the sets of parameters, and write what is wrong with them."""
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever an import prints must not mix with the answer
    sets = msgspec.json.decode(sys.stdin.buffer.read(), type=list[dict[str, Any]])
    try:
        checked = check(read_signature(load_handler(type_, target).function), sets)
    except (LoadError, TypeError) as exc:
        checked = Checked(error=str(exc))
    with os.fdopen(answer, "wb") as out:
        out.write(msgspec.json.encode(checked))


if __name__ == "__main__":
    main(*sys.argv[1:])
