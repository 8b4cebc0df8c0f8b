"""Endpoints of jobs."""

from __future__ import annotations

from typing import Final

import msgspec

from server.http.answer import Answer, one_of_list, wrapped
from server.http.body import Body, BodyField
from server.http.failure import ApiError
from server.http.kinds import ID, JOB_ID, OBJECT, PRIORITY, TEXT
from server.http.operation import Call, Operation
from server.http.query import choice, page_of, paging
from server.routes.shared import ORG_ID, check_org, creator
from server.store.commands import CreateJob, UpdateJob
from server.store.queries import JOB_SORTS, JobQuery
from server.store.records import JobRecord
from server.tokens import READ, SUBMIT
from worker.api.wire import RunStatus

__all__ = ["OPERATIONS"]

NEW_JOB: Final = Body(
    name="createJobBody",
    code="create_job_error",
    fields=(
        BodyField("createdBy", "created_by", TEXT, "ID of user who created the job; by default the token's"),
        BodyField("title", "title", TEXT, "Title of the job"),
        BodyField("type", "type", TEXT, "Type of the job, and of its tasks that give none"),
        BodyField("orgId", "org_id", TEXT, "Organization that owns the job; the token's"),
        BodyField("id", "id", JOB_ID, "ID of the job; by default a new one"),
        BodyField("schedulerState", "scheduler_state", ID, "User-desired job state; by default active"),
        BodyField("parameters", "parameters", OBJECT, "Metadata of the job (extension)"),
        BodyField("priority", "priority", PRIORITY, "Higher ones are listed first (extension)"),
    ),
)
JOB_CHANGE: Final = Body(
    name="updateJobBody",
    code="update_job_error",
    fields=(
        BodyField("parameters", "parameters", OBJECT, "Metadata of the job"),
        BodyField("title", "title", TEXT, "Title of the job (extension)"),
        BodyField(
            "schedulerState",
            "scheduler_state",
            ID,
            "active; paused (or any other word): nothing new is started; cancelled, canceled, stopped:"
            " its pending tasks are stopped at once, running ones by their agents (extension)",
        ),
        BodyField("priority", "priority", PRIORITY, "Also of its tasks that have none (extension)"),
    ),
)
STATUSES: Final = tuple(status.value for status in RunStatus)


def not_found(job_id: str) -> ApiError:
    """Return the answer for an id that names no job of this organisation."""
    return ApiError(404, "job_not_found", f"Job not found: {job_id}")


async def list_jobs(call: Call) -> Answer:
    """Answer with a page of jobs."""
    jobs = list[JobRecord]()
    if not call.narrows_to_nothing:
        query = JobQuery(org_id=call.org_id, statuses=call.query["status"], page=page_of(call.query))
        jobs = await call.services.store.jobs(query)
    return wrapped("jobs", map(msgspec.json.encode, jobs))


async def create_job(call: Call) -> Answer:
    """Make a job."""
    check_org(call, call.body.values)
    fields = {**call.body.values, "org_id": call.org_id, "created_by": creator(call, call.body.values)}
    return one_of_list(await call.services.store.apply(CreateJob(**fields)))


async def get_job(call: Call) -> Answer:
    """Answer with a job."""
    job_id = call.request.path_params["jobId"]
    job = None if call.narrows_to_nothing else await call.services.store.job(call.org_id, job_id)
    if job is None:
        raise not_found(job_id)
    return one_of_list(job)


async def update_job(call: Call) -> Answer:
    """Change a job."""
    job_id = call.request.path_params["jobId"]
    if call.narrows_to_nothing:
        raise not_found(job_id)
    command = UpdateJob(org_id=call.org_id, id=job_id, **call.body.values)
    return one_of_list(await call.services.store.apply(command))


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/api/jobs",
        name="list_jobs",
        scope=READ,
        summary="List the jobs of the token's organization",
        handler=list_jobs,
        answer=JobRecord,
        wrapping="jobs",
        query=(ORG_ID, choice("status", "Status of a job", STATUSES), *paging(JOB_SORTS)),
        refusals={422: "A query parameter is not as described"},
    ),
    Operation(
        method="POST",
        path="/api/jobs",
        name="create_job",
        scope=SUBMIT,
        summary="Create a job",
        handler=create_job,
        answer=JobRecord,
        wrapping="",
        query=(ORG_ID,),
        body=NEW_JOB,
        creates="jobId",
        refusals={409: "job_exists", 422: "create_job_error: the message names the field"},
    ),
    Operation(
        method="GET",
        path="/api/jobs/{jobId}",
        name="get_job",
        scope=READ,
        summary="Retrieve a job",
        handler=get_job,
        answer=JobRecord,
        wrapping="",
        query=(ORG_ID,),
        refusals={404: "job_not_found"},
    ),
    Operation(
        method="PUT",
        path="/api/jobs/{jobId}",
        name="update_job",
        scope=SUBMIT,
        summary="Modify a job",
        handler=update_job,
        answer=JobRecord,
        wrapping="",
        query=(ORG_ID,),
        body=JOB_CHANGE,
        refusals={404: "job_not_found", 422: "update_job_error: the message names the field"},
    ),
)
