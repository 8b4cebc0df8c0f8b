"""Endpoints of runs."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from server.http.answer import Answer, run_shown, wrapped
from server.http.body import Body, BodyField
from server.http.failure import ApiError
from server.http.kinds import BOOLEAN, ID, INSTANT, NUMBER, OBJECT_OR_TEXT, PROGRESS, TEXT
from server.http.operation import Call, Operation
from server.http.preferences import wants_little
from server.http.query import page_of, paging, several
from server.http.request import Headers
from server.http.seen import Seen, seen_of
from server.routes.shared import ORG_ID, check_org, creator
from server.store.commands import Briefly, Command, CreateRun, RunFields, UpdateRun
from server.store.queries import RUN_SORTS, RunQuery
from server.store.records import BriefAnswer, RunAnswer, RunBrief, RunRecord
from server.tokens import READ, WORK
from worker.api.wire import AGENT_HEADER, BRIEFLY

__all__ = ["OPERATIONS", "SAID_BY_BOTH", "as_asked", "creation", "report", "run_fields"]

# What both a new run and a report may say.
SAID_BY_BOTH: Final = (
    BodyField("startedAt", "started_at", INSTANT, "Time when the run started; none makes a placeholder"),
    BodyField("stoppedAt", "stopped_at", INSTANT, "Time when the run stopped; final"),
    BodyField("resultCode", "result_code", TEXT, "Success, or anything else for a failure"),
    BodyField("resultMessage", "result_message", TEXT, "The content of the result (extension)"),
    BodyField("error", "error", TEXT, "Error produced by the run"),
    BodyField("progress", "progress", PROGRESS, "Progress of the run; kept between 0 and 1"),
    BodyField("results", "results", OBJECT_OR_TEXT, "The results of the run"),
    BodyField("machine", "machine", OBJECT_OR_TEXT, "The machine used for the run"),
    BodyField("reportProgress", "report_progress", BOOLEAN, "Whether to show progress"),
    BodyField("requestCPUs", "request_cpus", NUMBER, "CPU request in vCPUs"),
    BodyField("limitCPUs", "limit_cpus", NUMBER, "CPU limit in vCPUs"),
    BodyField("nodeCPUs", "node_cpus", NUMBER, "Number of CPUs in the node"),
    BodyField("requestRAM", "request_ram", NUMBER, "Memory request in bytes"),
    BodyField("limitRAM", "limit_ram", NUMBER, "Memory limit in bytes"),
    BodyField("nodeRAM", "node_ram", NUMBER, "Memory of the node in bytes"),
    BodyField("cpuPlatform", "cpu_platform", TEXT, "CPU architecture"),
    BodyField("machineType", "machine_type", TEXT, "Type of machine"),
    BodyField("gpuType", "gpu_type", TEXT, "Type of GPU, if present"),
    BodyField("instanceID", "instance_id", TEXT, "ID of the cloud instance"),
    BodyField("zone", "zone", TEXT, "Zone where the run is performed"),
    BodyField("preemptible", "preemptible", BOOLEAN, "Whether the machine may be taken away"),
    BodyField("podId", "pod_id", TEXT, "Pod ID; with startedAt the identity of a claim"),
    BodyField("GPUTime", "gpu_time", NUMBER, "GPU seconds allocated (extension)"),
    BodyField("CPUTime", "cpu_time", NUMBER, "CPU seconds used (extension)"),
    BodyField("RAMUsage", "ram_usage", NUMBER, "Peak memory in bytes (extension)"),
    BodyField("wallClockTime", "wall_clock_time", NUMBER, "Seconds from start to now (extension)"),
)
NEW_RUN: Final = Body(
    name="createRunBody",
    code="create_run_error",
    fields=(
        BodyField("createdBy", "created_by", TEXT, "ID of user who created the run; by default the token's"),
        BodyField("orgId", "org_id", TEXT, "Organization that owns the run; the token's"),
        BodyField("taskId", "task_id", ID, "ID of the related task", is_required=True),
        BodyField("id", "id", ID, "ID of the run; by default a new one"),
        BodyField("jobId", "job_id", ID, "ID of the associated job"),
        BodyField("createdAt", None, INSTANT, "Not used: the server's clock orders the runs of a task"),
        *SAID_BY_BOTH,
    ),
)
REPORT: Final = Body(name="updateRunBody", code="update_run_error", fields=SAID_BY_BOTH)

ASKED_FOR_LITTLE: Final = (
    f"With `Prefer: {BRIEFLY}` the answer holds `id`, `podId`, `startedAt` and `stoppedAt` alone (extension)."
)
CONFLICTS_OF_A_CLAIM: Final = "task_not_pending, job_not_active"


def not_found(run_id: str) -> ApiError:
    """Return the answer for an id that names no run of this organisation."""
    return ApiError(404, "run_not_found", f"Run not found: {run_id}")


async def list_runs(call: Call) -> Answer:
    """Answer with a page of runs."""
    runs = list[RunAnswer]()
    if not call.narrows_to_nothing:
        query = RunQuery(
            org_id=call.org_id,
            job_ids=call.query["jobId"],
            task_ids=call.query["taskId"],
            page=page_of(call.query),
        )
        runs = await call.services.store.runs(query)
    return wrapped("runs", (msgspec.json.encode(answer.run) for answer in runs))


ABOUT_THE_RUN: Final = frozenset({"org_id", "created_by", "task_id", "id", "job_id"})


def run_fields(values: dict[str, Any]) -> RunFields:
    """Return what a body says of a run itself."""
    of_run = dict(values)
    for name in ABOUT_THE_RUN:
        of_run.pop(name, None)
    return RunFields(**of_run)


def _lease_ms(call: Call) -> int | None:
    """Return the lease that this request grants: who names itself as an agent knows leases."""
    lease_s = call.services.lease_s
    return int(lease_s * 1000) if lease_s and call.request.headers.once(_agent) is not None else None


def _agent(headers: Headers) -> str | None:
    return headers.get(AGENT_HEADER)


def as_asked(call: Call, write: CreateRun | UpdateRun) -> Command[RunAnswer | BriefAnswer]:
    """Return a write as the command that answers it with as much as was asked for."""
    return Briefly(write) if wants_little(call.request) else write


def creation(call: Call, values: dict[str, Any], seen: Seen) -> CreateRun:
    """Return what a body asks for: to claim a task, to requeue it, or to add a run that has stopped.

    Raises:
        ApiError: 403, it is of another organisation.
    """
    check_org(call, values)
    seen.is_claim = "started_at" in values and "stopped_at" not in values
    return CreateRun(
        org_id=call.org_id,
        created_by=creator(call, values),
        task_id=values["task_id"],
        id=values.get("id"),
        job_id=values.get("job_id"),
        lease_ms=_lease_ms(call),
        fields=run_fields(values),
    )


async def create_run(call: Call) -> Answer:
    """Claim a task, requeue it, or add a run that has stopped."""
    return await _written(call, creation(call, call.body.values, seen_of(call.request.scope)))


async def get_run(call: Call) -> Answer:
    """Answer with a run."""
    run_id = call.request.path_params["runId"]
    run = None if call.narrows_to_nothing else await call.services.store.run(call.org_id, run_id)
    if run is None:
        raise not_found(run_id)
    return run_shown(run, call.services.lease_s)


def report(call: Call, values: dict[str, Any], run_id: str) -> UpdateRun:
    """Return what a body tells of a run.

    Raises:
        ApiError: 404, it is of another organisation.
    """
    if call.narrows_to_nothing:
        raise not_found(run_id)
    agent = call.request.headers.once(_agent)
    fields = RunFields(**values)
    return UpdateRun(org_id=call.org_id, id=run_id, agent=agent, lease_ms=_lease_ms(call), fields=fields)


async def update_run(call: Call) -> Answer:
    """Take a report on a run."""
    return await _written(call, report(call, call.body.values, call.request.path_params["runId"]))


async def _written(call: Call, write: CreateRun | UpdateRun) -> Answer:
    return run_shown(await call.services.store.apply(as_asked(call, write)), call.services.lease_s)


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/api/jobs/runs",
        name="list_runs",
        scope=READ,
        summary="List runs",
        handler=list_runs,
        answer=RunRecord,
        wrapping="runs",
        query=(
            ORG_ID,
            several("jobId", "ID of a job"),
            several("taskId", "ID of a task"),
            *paging(RUN_SORTS),
        ),
        refusals={422: "A query parameter is not as described"},
    ),
    Operation(
        method="POST",
        path="/api/jobs/runs",
        name="create_run",
        scope=WORK,
        summary="Create a run",
        description=(
            "With `startedAt` a claim: the task must be pending and its job active. Without, a placeholder:"
            " the task is pending again, once no run of it is live. The same run (`id`, `taskId`, `podId`,"
            " `startedAt`) sent twice is answered with the first one."
            f" {ASKED_FOR_LITTLE}"
        ),
        handler=create_run,
        answer=RunRecord,
        brief=RunBrief,
        query=(ORG_ID,),
        body=NEW_RUN,
        creates="runId",
        refusals={
            409: f"run_conflict, {CONFLICTS_OF_A_CLAIM}",
            422: "create_run_error: the message names the field",
        },
    ),
    Operation(
        method="GET",
        path="/api/jobs/runs/{runId}",
        name="get_run",
        scope=READ,
        summary="Retrieve a run",
        handler=get_run,
        answer=RunRecord,
        query=(ORG_ID,),
        refusals={404: "run_not_found"},
    ),
    Operation(
        method="PUT",
        path="/api/jobs/runs/{runId}",
        name="update_run",
        scope=WORK,
        summary="Modify an incomplete run",
        description=(
            f"`{AGENT_HEADER}`, if sent, must be the run's `podId`, and `startedAt` the run's. A stopped run"
            f" cannot be changed; its last report sent again is answered with 200. {ASKED_FOR_LITTLE}"
        ),
        handler=update_run,
        answer=RunRecord,
        brief=RunBrief,
        query=(ORG_ID,),
        body=REPORT,
        refusals={
            404: "run_not_found",
            409: f"run_stopped, not_your_run, {CONFLICTS_OF_A_CLAIM}",
            422: "update_run_error: the message names the field",
        },
    ),
)
