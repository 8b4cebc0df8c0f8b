"""Operations: what an endpoint takes and gives, declared once; served and documented from that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from server.http import query
from server.http.answer import Answer, failure
from server.http.authentication import authenticate, check_scope
from server.http.body import Body, Fields, body_of
from server.http.exchange import exchange_of
from server.http.failure import ApiError, from_refusal
from server.http.load import Load
from server.http.query import Parameter
from server.http.rates import Rates
from server.http.request import Request
from server.http.seen import Seen, seen_of
from server.pending.desk import Desk
from server.store.records import Principal
from server.store.refusal import OutcomeUnknown, Refused, StoreBusy, StoreFailed
from server.store.store import Store
from server.token_use import TokenUse
from worker.clock import Clock

__all__ = ["Call", "Endpoint", "Operation", "Services", "failure_of", "tell_after", "tell_before"]

RETRY_AFTER_S: Final = 1  # a full queue of writes empties within a moment

# Of a body's fields those that the audit log shows, and their names there.
IDS: Final = {"task_id": "taskId", "job_id": "jobId"}

log = structlog.get_logger(__name__)


class Created(Struct):
    """The one field of an answer that says what was made."""

    id: str


CREATED: Final = msgspec.json.Decoder(Created | list[Created])


def created_id(answer: Answer) -> str:
    """Return the id of what an answer shows: a thing, or a list of one."""
    made: Created | list[Created] = CREATED.decode(answer.body)
    return made[0].id if isinstance(made, list) else made.id


def tell_before(seen: Seen, fields: Fields) -> None:
    """Note what a body names."""
    seen.ids |= {wire: fields.values[name] for name, wire in IDS.items() if name in fields.values}


def tell_after(seen: Seen, operation: Operation, answer: Answer) -> None:
    """Note what was made."""
    if operation.creates and answer.status == 200:
        seen.ids[operation.creates] = created_id(answer)


class Services(Struct, frozen=True, kw_only=True):
    """What handlers work with."""

    store: Store
    desk: Desk
    clock: Clock
    max_body_bytes: int
    token_use: TokenUse
    rates: Rates
    load: Load
    lease_s: float = 0.0  # how long a run of an agent that knows leases may be silent; 0: for ever


class Call(Struct, frozen=True, kw_only=True):
    """A request that was let in and read."""

    request: Request
    services: Services
    principal: Principal
    org_id: str  # the token's
    query: dict[str, Any]
    body: Fields
    operation: Operation

    @property
    def narrows_to_nothing(self) -> bool:
        """Tell whether the request names another organisation than the token's."""
        return self.query.get("orgId") not in (None, self.org_id)


Handler = Callable[[Call], Awaitable[Answer]]


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: str
    path: str
    name: str  # operationId, and in the code of errors about its query
    summary: str
    scope: str  # what a token needs for it
    handler: Handler
    answer: type  # the record in its answer
    brief: type | None = None  # the record in place of it where little is asked for
    wrapping: str | None = None  # the name of a list, "" for a list of one, None: bare
    query: tuple[Parameter, ...] = ()
    body: Body | None = None
    most_bytes: int | None = None  # of a body, where that is less than of any
    creates: str | None = None  # the name of the new thing's id in the audit log
    refusals: dict[int, str] = {}  # status beyond 401, 403 -> when
    description: str = ""


class Endpoint:
    """The ASGI application that serves an operation."""

    def __init__(self, operation: Operation, services: Services) -> None:
        """Serve the operation with these."""
        self.operation = operation
        self._services = services
        self._unasked = self._read({})
        most_bytes = services.max_body_bytes
        self._most_bytes = min(most_bytes, operation.most_bytes or most_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every failure has the documented error body."""
        request, seen = Request(scope, receive), seen_of(scope)
        try:
            answer = await self._answer(request, seen)
        except Exception as exc:  # noqa: BLE001 - every one is answered, and what nobody expected is logged
            answer = failure_of(exc, scope["method"], scope["path"], seen)
        exchange = exchange_of(scope)
        if exchange is None or not answer.send_whole(exchange, seen):
            await answer.send(send)

    async def _answer(self, request: Request, seen: Seen) -> Answer:
        operation, services = self.operation, self._services
        body = operation.body
        seen.operation, seen.is_write, seen.ids = operation.name, body is not None, dict(request.path_params)
        given = query.parse(request.scope["query_string"])
        principal = await authenticate(request, given, services.store)
        seen.principal = principal
        services.token_use.note(principal.token_id)
        services.rates.take(principal.token_id)
        check_scope(principal, operation.scope)
        if body is None:
            return await self._handle(request, principal, given, Fields({}, {}))
        content = await body_of(request, body, self._most_bytes, services.load)
        try:
            fields = body.read(content)
            if seen.is_told:
                tell_before(seen, fields)
            answer = await self._handle(request, principal, given, fields)
        finally:
            services.load.forget_bytes(len(content))
        if seen.is_told:
            tell_after(seen, operation, answer)
        return answer

    def _read(self, given: query.Parameters) -> dict[str, Any]:
        return query.read_all(self.operation.query, given, f"{self.operation.name}_error")

    async def _handle(
        self, request: Request, principal: Principal, given: query.Parameters, fields: Fields
    ) -> Answer:
        operation, services = self.operation, self._services
        call = Call(
            request=request,
            services=services,
            principal=principal,
            org_id=principal.org_id,
            query=self._read(given) if given else self._unasked,
            body=fields,
            operation=operation,
        )
        services.load.begin()
        try:
            return await operation.handler(call)
        finally:
            services.load.end()


def failure_of(exc: Exception, method: str, path: str, seen: Seen) -> Answer:
    """Return the answer that says what went wrong."""
    if isinstance(exc, ApiError):
        return failure(exc)
    if isinstance(exc, Refused):
        return failure(from_refusal(exc))
    if isinstance(exc, StoreBusy | StoreFailed):
        log.warning("request.not_served", path=path, reason=str(exc), request_id=seen.request_id)
        retry = {"Retry-After": str(RETRY_AFTER_S)}
        done = "It may be stored" if isinstance(exc, OutcomeUnknown) else "Not done"
        return failure(ApiError(503, "unavailable", f"{done}, try again: {exc}", retry))
    log.error("request.failed", method=method, path=path, request_id=seen.request_id, exc_info=exc)
    return failure(ApiError(500, "internal_error", "The server failed; its log says why"))
