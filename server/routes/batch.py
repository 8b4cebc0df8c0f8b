"""Several writes of runs in one request: each stands alone, as if it had been sent by itself.

An extension that no client needs: a request costs the server half as much again as what it writes.
"""

from __future__ import annotations

import time
from typing import Any, Final, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from server.http.answer import Answer, run_shown
from server.http.authentication import check_scope
from server.http.body import Body, BodyField
from server.http.failure import ApiError
from server.http.kinds import Kind
from server.http.operation import Call, Operation, failure_of, tell_after, tell_before
from server.http.seen import Part, Seen, seen_of
from server.routes import runs
from server.routes.shared import ORG_ID
from server.store.commands import Command
from server.store.records import BriefAnswer, RunAnswer
from server.tokens import WORK
from worker.api.wire import AGENT_HEADER, BATCH_HEADER, BATCH_MOST

__all__ = ["OPERATIONS"]

KNOWN: Final = {operation.method: operation for operation in runs.OPERATIONS if operation.body is not None}
RUNS: Final = "/api/jobs/runs"

Asked = Command[RunAnswer | BriefAnswer]
Result = RunAnswer | BriefAnswer | Exception


class Write(Struct, frozen=True, forbid_unknown_fields=True):
    """One write, as a request of its own would make it."""

    method: Literal["POST", "PUT"]
    path: str
    body: Raw


class Written(Struct, frozen=True):
    """The answer that the request of its own would have had."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Batch(Struct, frozen=True):
    """The answers, in the order of the writes."""

    answers: list[Written]


class Encoded(Struct, frozen=True):
    """A `Written` whose body is JSON already."""

    status: int
    headers: dict[str, str]
    body: Raw


WRITES: Final = msgspec.json.Decoder(list[Write])


def _writes(json: bytes | Raw) -> list[Write]:
    try:
        writes = WRITES.decode(bytes(json))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError("must be a list of objects with method (POST or PUT), path and body") from exc
    if not 1 <= len(writes) <= BATCH_MOST:
        raise ValueError(f"must hold 1 to {BATCH_MOST} writes")
    return writes


BATCH: Final = Body(
    name="writeBatchBody",
    code="write_batch_error",
    fields=(
        BodyField(
            "writes",
            "writes",
            Kind(
                _writes,
                {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": BATCH_MOST,
                    "items": {
                        "type": "object",
                        "required": ["method", "path", "body"],
                        "additionalProperties": False,
                        "properties": {
                            "method": {"enum": ["POST", "PUT"]},
                            "path": {"type": "string", "examples": [RUNS, f"{RUNS}/run"]},
                            "body": {"type": "object"},
                        },
                    },
                },
                is_raw=True,
            ),
            f"POST of {RUNS}, or PUT of {RUNS}/{{runId}}, each with its body",
            is_required=True,
        ),
    ),
)


async def write_batch(call: Call) -> Answer:
    """Do all writes beside each other, and answer each."""
    seen = seen_of(call.request.scope)
    seen.is_write = False  # each of its writes is one
    writes: list[Write] = call.body.values["writes"]
    seen.parts = [_part_of(seen, number, write) for number, write in enumerate(writes, 1)]
    with call.services.load.waiting():  # each of its writes counts, and it does nothing else
        answers = await _answers(call, writes, seen.parts)
    encoded = [Encoded(answer.status, answer.headers, Raw(answer.body)) for answer in answers]
    return Answer(b'{"answers":' + msgspec.json.encode(encoded) + b"}")


def _part_of(whole: Seen, number: int, write: Write) -> Part:
    seen = Seen(
        request_id=f"{whole.request_id}.{number}",
        is_write=True,
        is_part=True,
        is_told=whole.is_told,
        principal=whole.principal,
    )
    return Part(seen, write.method, number)


async def _answers(call: Call, writes: list[Write], parts: list[Part]) -> list[Answer]:
    """Do what each write asks for; every failure is its own, with the documented error body."""
    load, begun_s = call.services.load, time.perf_counter()
    asked = [_asked(call, write, part) for write, part in zip(writes, parts, strict=True)]
    commands = [one for one in asked if not isinstance(one, Exception)]
    try:
        done = iter(await call.services.store.apply_each(commands)) if commands else iter(())
    finally:
        for _ in commands:
            load.end()
    results = [one if isinstance(one, Exception) else next(done) for one in asked]
    took_s = time.perf_counter() - begun_s
    return [
        _answer(call, write, part, result, took_s)
        for write, part, result in zip(writes, parts, results, strict=True)
    ]


def _asked(call: Call, write: Write, part: Part) -> Asked | Exception:
    """Return the command of a write, which counts as load from here on, or why there is none."""
    try:
        asked = _command(call, write, part)
        call.services.load.begin()
    except Exception as exc:  # noqa: BLE001 - every one is answered, and what nobody expected is logged
        return exc
    return asked


def _command(call: Call, write: Write, part: Part) -> Asked:
    operation, services, seen = KNOWN[write.method], call.services, part.seen
    assert operation.body is not None
    seen.operation = operation.name
    seen.ids = _ids_of(write.method, unquote(write.path))
    if part.number > 1:  # the first is what the request itself counted as
        services.rates.take(call.principal.token_id)
    check_scope(call.principal, operation.scope)
    fields = operation.body.read(write.body)
    if seen.is_told:
        tell_before(seen, fields)
    run_id = seen.ids.get("runId")
    values = fields.values
    asked = runs.creation(call, values, seen) if run_id is None else runs.report(call, values, run_id)
    return runs.as_asked(call, asked)


def _answer(call: Call, write: Write, part: Part, result: Result, took_s: float) -> Answer:
    try:
        if isinstance(result, Exception):
            raise result
        answer = run_shown(result, call.services.lease_s)
        if part.seen.is_told:
            tell_after(part.seen, KNOWN[write.method], answer)
    except Exception as exc:  # noqa: BLE001 - every one is answered, and what nobody expected is logged
        answer = failure_of(exc, write.method, write.path, part.seen)
    part.took_s = took_s
    part.seen.status, part.seen.sent_bytes = answer.status, len(answer.body)
    return answer


def _ids_of(method: str, path: str) -> dict[str, str]:
    """Return the id in the path.

    Raises:
        ApiError: 404, it is none of the paths that can be written so.
    """
    folder, _, last = path.rpartition("/")
    if method == "POST" and path == RUNS:
        return {}
    if method == "PUT" and folder == RUNS and last:
        return {"runId": last}
    raise ApiError(404, "not_found", f"{method} {path} cannot be part of a batch")


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/api/batch",
        name="write_batch",
        scope=WORK,
        summary="Create and report on several runs at once (extension)",
        description=(
            f"Up to {BATCH_MOST} writes, done beside each other; each stands alone, and its answer is what"
            f" the same request by itself would have had. `{AGENT_HEADER}`, `Prefer` and the query count for"
            f" all. Every answer of this server says `{BATCH_HEADER}: {BATCH_MOST}`."
        ),
        handler=write_batch,
        answer=Batch,
        query=(ORG_ID,),
        body=BATCH,
        refusals={422: "write_batch_error: nothing was done"},
    ),
)
