"""Endpoints of tasks."""

from __future__ import annotations

from typing import Final

from server.http.answer import Answer
from server.http.body import Body, BodyField
from server.http.failure import ApiError
from server.http.kinds import BOOLEAN, ID, INSTANT, OBJECT, PRIORITY, TEXT
from server.http.operation import Call, Operation
from server.http.preferences import preferred_wait_s
from server.http.query import choice, page_of, paging, several
from server.http.seen import seen_of
from server.routes.jobs import STATUSES
from server.routes.shared import ORG_ID, check_org, creator
from server.routes.waiting import MOST_WAIT_S, agent_of, shown, unless_gone
from server.store.commands import CreateTask, UpdateTask
from server.store.queries import TASK_SORTS, TaskQuery
from server.store.records import TaskRecord
from server.tokens import READ, SUBMIT
from worker.api.wire import AGENT_HEADER, OFFERS_HEADER, RunStatus

__all__ = ["OPERATIONS"]

# Fields that the server derives; a client that sends a task back as it got it may hold them.
DERIVED: Final = frozenset(
    [
        "id",
        "orgId",
        "jobId",
        "createdBy",
        "createdAt",
        "updatedAt",
        "runStatus",
        "runResult",
        "runProgress",
        "type",
        "reportProgress",
        "extra",
    ]
)
NEW_TASK: Final = Body(
    name="createTaskBody",
    code="create_task_error",
    keeps_extra=True,
    ignored=DERIVED,
    fields=(
        BodyField("createdBy", "created_by", TEXT, "ID of user who created the task; by default the token's"),
        BodyField("title", "title", TEXT, "Title of the task"),
        BodyField("type", "type", TEXT, "Type of the task; by default the job's"),
        BodyField("orgId", "org_id", TEXT, "Organization that owns the task; the token's"),
        BodyField("id", "id", ID, "ID of the task; by default a new one"),
        BodyField("jobId", "job_id", ID, "ID of the associated job", is_required=True),
        BodyField("parameters", "parameters", OBJECT, "Metadata of the task"),
        BodyField("reportProgress", "report_progress", BOOLEAN, "Whether to report progress"),
        BodyField("priority", "priority", PRIORITY, "By default the job's (extension)"),
    ),
)
TASK_CHANGE: Final = Body(
    name="updateTaskBody",
    code="update_task_error",
    keeps_extra=True,
    ignored=DERIVED,
    fields=(
        BodyField("parameters", "parameters", OBJECT, "Metadata of the task"),
        BodyField("updatedAt", "updated_at", INSTANT, "Time when the task was last updated; by default now"),
        BodyField("title", "title", TEXT, "Title of the task (extension)"),
        BodyField("priority", "priority", PRIORITY, "Priority of the task (extension)"),
    ),
)


def not_found(task_id: str) -> ApiError:
    """Return the answer for an id that names no task of this organisation."""
    return ApiError(404, "task_not_found", f"Task not found: {task_id}")


async def list_tasks(call: Call) -> Answer:
    """Answer with a page of tasks; wait for pending ones if that is preferred."""
    query = TaskQuery(
        org_id=call.org_id,
        job_ids=call.query["jobId"],
        statuses=call.query["runStatus"],
        types=call.query["type"],
        page=page_of(call.query),
    )
    if call.narrows_to_nothing:
        return shown([])
    if query.statuses != (RunStatus.PENDING,):
        return shown(await call.services.store.tasks(query))
    return await _list_pending(call, query)


async def _list_pending(call: Call, query: TaskQuery) -> Answer:
    agent = agent_of(call.request)
    wait_s = preferred_wait_s(call.request, MOST_WAIT_S)
    if not wait_s or not call.services.desk.has_room_for(call.org_id):
        return shown(await call.services.desk.look(query, agent))
    waiting = call.services.desk.wait(query, agent, wait_s)
    seen_of(call.request.scope).is_held = True
    with call.services.load.waiting():
        found = await unless_gone(call.request, waiting) or []
    offers = {OFFERS_HEADER: "1"} if call.services.lease_s else {}
    return shown(found, {"Preference-Applied": f"wait={wait_s}", **offers})


async def create_task(call: Call) -> Answer:
    """Make a task."""
    check_org(call, call.body.values)
    fields = {**call.body.values, "org_id": call.org_id, "created_by": creator(call, call.body.values)}
    task = await call.services.desk.create(CreateTask(**fields, extra=call.body.extra))
    return Answer(task.as_json())


async def get_task(call: Call) -> Answer:
    """Answer with a task."""
    task_id = call.request.path_params["taskId"]
    task = None if call.narrows_to_nothing else await call.services.store.task(call.org_id, task_id)
    if task is None:
        raise not_found(task_id)
    return Answer(task.as_json())


async def update_task(call: Call) -> Answer:
    """Change a task."""
    task_id = call.request.path_params["taskId"]
    if call.narrows_to_nothing:
        raise not_found(task_id)
    command = UpdateTask(org_id=call.org_id, id=task_id, **call.body.values, extra=call.body.extra)
    return Answer((await call.services.store.apply(command)).as_json())


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/api/jobs/tasks",
        name="list_tasks",
        scope=READ,
        summary="List tasks",
        description=(
            "With `runStatus=pending` only tasks of active jobs are listed, by priority (highest first),"
            " `createdAt` and `id`. Such a request may say `Prefer: wait=N`: it is held until a task comes,"
            f" {MOST_WAIT_S} s at most. One that carries `{AGENT_HEADER}` hides the listed tasks from"
            " other agents' lists for a moment."
        ),
        handler=list_tasks,
        answer=TaskRecord,
        wrapping="tasks",
        query=(
            ORG_ID,
            several("jobId", "ID of a job"),
            choice("runStatus", "Status of the task's current run", STATUSES),
            several("type", "Type of the task (extension)"),
            *paging(TASK_SORTS),
        ),
        refusals={422: "A query parameter is not as described"},
    ),
    Operation(
        method="POST",
        path="/api/jobs/tasks",
        name="create_task",
        scope=SUBMIT,
        summary="Create a task",
        handler=create_task,
        answer=TaskRecord,
        query=(ORG_ID,),
        body=NEW_TASK,
        creates="taskId",
        refusals={409: "task_exists", 422: "create_task_error: the message names the field"},
    ),
    Operation(
        method="GET",
        path="/api/jobs/tasks/{taskId}",
        name="get_task",
        scope=READ,
        summary="Retrieve a task",
        handler=get_task,
        answer=TaskRecord,
        query=(ORG_ID,),
        refusals={404: "task_not_found"},
    ),
    Operation(
        method="PUT",
        path="/api/jobs/tasks/{taskId}",
        name="update_task",
        scope=SUBMIT,
        summary="Modify a task",
        handler=update_task,
        answer=TaskRecord,
        query=(ORG_ID,),
        body=TASK_CHANGE,
        refusals={404: "task_not_found", 422: "update_task_error: the message names the field"},
    ),
)
