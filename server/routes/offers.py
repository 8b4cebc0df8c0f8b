"""An agent that waits offers the run that it would begin: a task that is made meanwhile comes claimed.

An extension that no client needs: without it a list is held, and who gets it claims a task of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from server.http.answer import Answer, run_shown
from server.http.authentication import authenticate, check_scope
from server.http.body import Body, BodyField
from server.http.exchange import exchange_of
from server.http.failure import ApiError
from server.http.kinds import ID, INSTANT, TEXT
from server.http.operation import Call, Operation
from server.http.preferences import preferred_wait_s
from server.http.query import page_of, paging, parse, several
from server.http.seen import Seen, seen_of
from server.pending.offers import Offer, Requester
from server.routes.runs import SAID_BY_BOTH, run_fields
from server.routes.shared import ORG_ID, check_org, creator
from server.routes.waiting import MOST_WAIT_S, short, shown, unless_gone
from server.store.commands import CreateRun
from server.store.queries import TASK_SORTS, TaskQuery
from server.store.records import Given, RunRecord, TaskAnswer, TaskRecord
from server.store.refusal import StoreBusy, StoreFailed
from server.times import to_ms
from server.tokens import READ, WORK
from worker.api.wire import AGENT_HEADER, OFFERS_HEADER, RunStatus

__all__ = ["OPERATIONS"]

MOST_BYTES: Final = 16 * 1024  # all that can wait stay below what bodies may take; agents send a few KiB
LATEST_MS: Final = to_ms(datetime.max.replace(tzinfo=UTC)) - MOST_WAIT_S * 1000  # what it waits comes on top
OF_AN_END: Final = frozenset({"stoppedAt", "resultCode", "resultMessage", "error", "results"})
OFFER: Final = Body(
    name="offerRunBody",
    code="offer_run_error",
    fields=(
        BodyField("id", "id", ID, "ID of the offer, the same when it is sent again", is_required=True),
        BodyField("createdBy", "created_by", TEXT, "ID of user who created the run; by default the token's"),
        BodyField("orgId", "org_id", TEXT, "Organization that owns the run; the token's"),
        BodyField(
            "startedAt",
            "started_at",
            INSTANT,
            "When it is sent; the run gets what it waited on top",
            is_required=True,
        ),
        BodyField("podId", "pod_id", TEXT, f"As `{AGENT_HEADER}` says", is_required=True),
        *(field for field in SAID_BY_BOTH if field.name not in OF_AN_END | {"startedAt", "podId"}),
    ),
)


class Offered(msgspec.Struct, frozen=True):
    """Pending tasks, as a list shows them; with `run` one task, which that run has claimed."""

    tasks: list[TaskRecord]
    run: RunRecord | msgspec.UnsetType = msgspec.UNSET


async def offer_run(call: Call) -> Answer:
    """Have a task claimed as it is made; tell what waits already, and what an offer has got before."""
    check_org(call, call.body.values)
    check_scope(call.principal, READ)  # tasks are told
    seen, services = seen_of(call.request.scope), call.services
    seen.is_write = False  # but where a run is claimed for it; who gets that again writes nothing
    wanted = TaskQuery(
        org_id=call.org_id,
        statuses=(RunStatus.PENDING,),
        types=call.query["type"],
        page=page_of(call.query),
    )
    wait_s = preferred_wait_s(call.request, MOST_WAIT_S)
    seen.is_held = wait_s > 0
    waiting = services.desk.offer(wanted, _offer(call, seen), wait_s)
    with services.load.waiting():
        tasks, given = await unless_gone(call.request, waiting) or ([], None)
    headers = {"Preference-Applied": f"wait={wait_s}", OFFERS_HEADER: "1"}
    if given is None or given.run is None:
        return shown(tasks, headers)
    return _with_run(given, call, tasks, headers)


def _note(seen: Seen, given: Given) -> None:
    """Note a claim, once it is committed."""
    assert given.run is not None
    seen.is_write = seen.is_claim = True
    seen.ids |= {"taskId": given.task.task.id, "runId": given.run.run.id}


def _offer(call: Call, seen: Seen) -> Offer:
    values, lease_s = call.body.values, call.services.lease_s
    if call.request.headers.get(AGENT_HEADER) not in (None, values["pod_id"]):
        raise OFFER.error("podId", f"must be what {AGENT_HEADER} says")
    if values["started_at"] > LATEST_MS:
        raise OFFER.error("startedAt", "is too late for a wait to come on top")
    if not lease_s:
        raise ApiError(409, "no_offers", "This server grants no leases, and takes no offers without")
    claim = CreateRun(
        org_id=call.org_id,
        created_by=creator(call, values),
        task_id="",
        lease_ms=int(lease_s * 1000),
        fields=run_fields(values),
    )
    exchange = exchange_of(call.request.scope)
    return Offer(
        values["id"],
        short(values["pod_id"]),
        claim,
        call.services.clock,
        Requester(
            lambda: exchange is None or exchange.is_there, partial(_is_allowed, call), partial(_note, seen)
        ),
    )


async def _is_allowed(call: Call) -> bool:
    """Tell whether the token of an offer that waits may claim still; where nobody knows, it may not."""
    given = parse(call.request.scope["query_string"])
    try:
        principal = await authenticate(call.request, given, call.services.store)
        check_scope(principal, WORK)
    except (ApiError, StoreBusy, StoreFailed):
        return False
    return principal.org_id == call.org_id


def _with_run(given: Given, call: Call, tasks: list[TaskAnswer], headers: dict[str, str]) -> Answer:
    """Show the task first, and the run that has it."""
    assert given.run is not None
    run = run_shown(given.run, call.services.lease_s)
    listed = shown([given.task, *tasks])
    body = b'%b,"run":%b}' % (listed.body.removesuffix(b"}"), run.body)
    return Answer(body, headers={**run.headers, **headers})


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/api/offers",
        name="offer_run",
        scope=WORK,
        summary="Offer a run to the next task (extension)",
        description=(
            "Answers as a list of pending tasks does that may be held (`Prefer: wait=N`). A task that is made"
            " meanwhile, that says its type and requires nothing, is claimed by the run that is offered: then"
            " it is the first of `tasks`, and `run` is there. The same offer (`id`) sent again is answered"
            " with the run that it has got; without a wait, or with the same `startedAt`, only with that."
            f" Lists that were held say `{OFFERS_HEADER}: 1` where offers are taken."
        ),
        handler=offer_run,
        answer=Offered,
        query=(ORG_ID, several("type", "Type of the task"), *paging(TASK_SORTS)),
        body=OFFER,
        most_bytes=MOST_BYTES,
        refusals={
            409: "offer_outdated: a younger one of the agent came before; no_offers: nor leases",
            413: f"body_too_large: more than {MOST_BYTES} bytes",
            422: "offer_run_error: the message names the field",
        },
    ),
)
