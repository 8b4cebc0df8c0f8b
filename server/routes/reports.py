"""The endpoint of reports: the started runs of an organisation."""

from __future__ import annotations

from typing import Final

import msgspec

from server.http.answer import Answer, wrapped
from server.http.failure import ApiError
from server.http.operation import Call, Operation
from server.http.query import page_of, paging
from server.routes.shared import ORG_ID
from server.store.queries import REPORT_SORTS, ReportQuery
from server.store.records import ReportRecord
from server.tokens import READ

__all__ = ["OPERATIONS"]


async def list_reports(call: Call) -> Answer:
    """Answer with a page of reports."""
    if call.query["orgId"] is None:
        raise ApiError(404, "runs_not_found", "Runs not found: orgId is required")
    reports = list[ReportRecord]()
    if not call.narrows_to_nothing:
        query = ReportQuery(org_id=call.org_id, page=page_of(call.query))
        reports = await call.services.store.reports(query)
    return wrapped("runs", map(msgspec.json.encode, reports))


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/api/jobs/reports",
        name="list_reports",
        scope=READ,
        summary="Report the started runs of an organization",
        handler=list_reports,
        answer=ReportRecord,
        wrapping="runs",
        query=(ORG_ID, *paging(REPORT_SORTS)),
        refusals={404: "runs_not_found: orgId is missing", 422: "A query parameter is not as described"},
    ),
)
