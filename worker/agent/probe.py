"""Whether a server keeps the first of two runs that have one id: posted again until it has decided."""

from __future__ import annotations

from typing import Any, Final

from worker.agent.claim_rules import rule_probe
from worker.agent.wire_run import RunWire
from worker.api.errors import Rejected, Unknown
from worker.api.models import Identity
from worker.api.retry import PATIENT

__all__ = ["is_first_kept"]

ID_TAKEN: Final = frozenset({400, 409, 422})  # how servers refuse a known id; the body was fine before
FAULT: Final = 500  # some fail at a known id …
FAULTS: Final = 3  # … which is believed when they do it every time


async def is_first_kept(runs: RunWire, first: Identity, again: dict[str, Any]) -> bool:
    """Post a run of ours once more until the API itself has decided on it.

    Args:
        runs: the wire.
        first: the identity under which the run stands.
        again: the same body under another identity.
    """
    backoff = runs.backoff(PATIENT)
    faults = 0
    while True:
        try:
            return rule_probe(await runs.create(again), first)
        except Rejected as error:
            if error.status in ID_TAKEN:
                return True
            await backoff.sleep(error)  # a proxy said it, or the token is denied
        except Unknown as error:
            faults += error.status == FAULT
            if faults >= FAULTS and (found := await runs.look(again["id"])) is not None:
                return rule_probe(found, first)
            await backoff.sleep(error)
